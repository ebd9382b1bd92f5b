"""Fetches a model from S3, verifies it against its digest, and puts it where the serving container looks.

The package is the init container of every serving pod. It decides nothing about rollouts: the operator says which
digest it expects, the loader makes sure that exactly those bytes lie in the pod, or says why not.
"""

__version__ = "0.1.0"

"""Serves one SavedModel with the command line, the REST and the gRPC of TensorFlow Serving.

The package is the serving container of a ModelService whose runtime is `tensorflow-serving`, where the official image
cannot be had. It serves the highest version below a base path, counts what it answers under the official names for the
rollout's analysis, and drains when it is told to end.
"""

__version__ = "0.1.0"

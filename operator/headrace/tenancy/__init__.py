"""Mints a namespace's credentials: a bucket and its users, an MLflow user, and the Secrets that hold them.

Used by `headrace tenant` and by a Job of the chart, with administrators' credentials; never by the reconcile loop.
"""

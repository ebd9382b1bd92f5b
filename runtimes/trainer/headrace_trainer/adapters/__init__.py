"""The process that runs the user's script, unchanged, with progress, checkpoints, exact resume and export around it.
What is here is common to all frameworks; a folder each knows one.

The launcher (the rest of this package) starts `python -m headrace_trainer.adapters.NAME ENTRYPOINT [--name=value ...]`,
tells it what to do by HEADRACE_* environment variables (settings.py) and reads JSON messages from a pipe (messages.py).
Nothing here talks to S3, MLflow or the cluster: that is the launcher's.
"""

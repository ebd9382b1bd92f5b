"""The process that runs the user's script: an unchanged Keras script, with progress, checkpoints, exact resume and
export around it.

The launcher (the rest of this package) starts `python -m headrace_trainer.child ENTRYPOINT [--name=value ...]`, tells
it what to do by HEADRACE_* environment variables (settings.py) and reads JSON messages from a pipe (messages.py).
Nothing here talks to S3, MLflow or the cluster: that is the launcher's.

Modules named keras_* import Keras and TensorFlow; they are loaded when the script itself has imported Keras, never
before, so that a script without it pays nothing.
"""

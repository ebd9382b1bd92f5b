"""PID 1 of a training pod (docs/reference/launcher-protocol.md).

It prepares (names, datasets, resume), runs the script as a child process, keeps its checkpoints and metrics safe
while it runs, judges how it ended, and leaves a record. It imports no TensorFlow: TensorFlow takes the SIGTERM
handler and can stop every Python thread of its process for seconds.
"""

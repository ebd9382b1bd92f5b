"""Keras on TensorFlow. All modules but `adapter` and `unfollowed` import both: they are loaded when the script itself
has imported Keras, never before.
"""

"""A preparation by Spark: the pod is its driver, the user's script its program."""

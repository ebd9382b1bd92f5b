"""Judges a model by what it says of data that it never saw: a process of the stage Evaluate, started by the launcher.

It knows neither MLflow nor S3: the models and the data lie in the pod, and what it finds is left in a folder.
"""

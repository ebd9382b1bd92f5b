"""The job's run in MLflow."""

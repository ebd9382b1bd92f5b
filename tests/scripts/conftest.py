"""What runs the scripts of other people is what trains in every test outside of the trainer's own."""

from real_trainer import interpreter, launch, launchers, mlflow, s3, train

__all__ = ["interpreter", "launch", "launchers", "mlflow", "s3", "train"]

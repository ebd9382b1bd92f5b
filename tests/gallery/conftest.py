"""What trains and serves the gallery is what does so for the scripts of other people."""

from real_trainer import interpreter, launch, launchers, mlflow, s3

__all__ = ["interpreter", "launch", "launchers", "mlflow", "s3"]

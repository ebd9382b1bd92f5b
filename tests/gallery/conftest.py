"""What trains and serves the gallery is what does so for the scripts of other people."""

from real_trainer import launch, launchers, mlflow, s3

__all__ = ["launch", "launchers", "mlflow", "s3"]

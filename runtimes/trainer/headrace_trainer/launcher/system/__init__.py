"""What the container uses while it trains, as MLflow's "System metrics" of the run.

Names and units are those of MLflow's own monitor (mlflow.system_metrics), which cannot be used here: it is the mlflow
package with psutil, and it measures the whole node.
"""

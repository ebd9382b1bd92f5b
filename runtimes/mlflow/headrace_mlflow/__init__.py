"""MLflow as Headrace runs it: one process, authentication on, and a registry that only the operator writes."""

"""Pictures of the run's metrics, as artifacts of the run: what was measured in all attempts, at one look."""

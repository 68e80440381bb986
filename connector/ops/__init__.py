"""What operators see: logs, metrics, health and status over HTTP."""

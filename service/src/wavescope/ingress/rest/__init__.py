"""Our own protocol over HTTP: explanations, predictions, jobs, models, probes and metrics."""

"""Telemetry: metrics for Prometheus, counted per process and summed, and logs in JSON."""

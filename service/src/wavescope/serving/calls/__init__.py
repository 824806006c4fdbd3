"""Calls within the cluster: handles, fan-out over replicas, retries, and calls that outlive their request."""

"""Models of the running service: directory, rollout, placement and loading."""

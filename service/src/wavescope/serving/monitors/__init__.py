"""Monitors in the service: measuring observations, folding them under a lease, and what callers ask of them."""

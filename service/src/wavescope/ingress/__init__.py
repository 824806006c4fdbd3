"""Schemas, routes and RPCs: the protocols, as thin callers of one data plane."""

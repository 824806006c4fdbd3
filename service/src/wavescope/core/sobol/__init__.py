"""Sobol indices: designs, estimators, bootstrap errors and diagnostics."""

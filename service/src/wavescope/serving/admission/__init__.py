"""Admission of requests and jobs by turns, and the planning before it."""

"""Admission control: which requests run, wait or are refused, quotas per caller, expected waits."""

"""Slow, plain re-implementations, written from the paper and the definitions, that the fast code is held against."""

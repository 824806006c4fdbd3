"""Monitors: their configuration, their state as a fold over a log, and its summary."""

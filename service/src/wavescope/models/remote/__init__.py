"""Models that are served elsewhere, explained as black boxes: Open Inference Protocol v2 and KServe v1."""

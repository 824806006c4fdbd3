"""Generated from ``inference/open_inference.proto``; see ``clients/proto/generate.py``."""

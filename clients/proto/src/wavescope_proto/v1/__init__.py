"""Generated from ``wavescope/v1/explanation.proto``; see ``clients/proto/generate.py``."""

"""Classifiers behind one small protocol: torch, ONNX Runtime, and the embedded default."""

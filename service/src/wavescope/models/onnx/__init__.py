"""Classifiers in ONNX files and the embedded model, on ONNX Runtime."""

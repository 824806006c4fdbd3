"""The Open Inference Protocol, version 2, over REST and gRPC: models and explainers as models with tensors."""

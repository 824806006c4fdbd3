"""The protocols of KServe: its first one, and the Open Inference Protocol v2 over REST and gRPC."""

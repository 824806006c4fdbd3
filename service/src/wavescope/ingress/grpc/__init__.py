"""Our own protocol over gRPC."""

"""Protocol buffers of Wavescope: ``wavescope_proto.v1.explanation_pb2`` and ``explanation_pb2_grpc``."""

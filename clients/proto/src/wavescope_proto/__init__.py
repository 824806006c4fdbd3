"""Protocol buffers of Wavescope: ``wavescope_proto.v1.explanation_pb2`` and ``explanation_pb2_grpc``.

Beside them those of the Open Inference Protocol: ``wavescope_proto.inference.open_inference_pb2`` and ``…_pb2_grpc``.
"""

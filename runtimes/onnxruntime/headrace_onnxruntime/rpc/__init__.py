"""The Open Inference Protocol over gRPC: inference.GRPCInferenceService, and gRPC's own health check.

`open_inference_grpc.proto` is the protocol's own file, unchanged; `open_inference_grpc.binpb` is what scripts/generate
makes of it. How a request is admitted, computed and counted is not here: that is one way for all (inferences.py).
"""

"""Serves one ONNX model with ONNX Runtime over the Open Inference Protocol (v2).

The package is the serving container of a ModelService whose runtime is `onnxruntime`. It finds the model where the
loader has put it, answers requests, counts them for the rollout's analysis, and drains when it is told to end.
"""

__version__ = "0.1.0"

# What the protocol's metadata say, over HTTP and gRPC.
SERVER_NAME = "headrace-onnxruntime"
PLATFORM = "onnx_onnxv1"

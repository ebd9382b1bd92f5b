"""Explains the answers of one ONNX model: what in a row made the model answer as it does.

The package is the container of a ModelService's explainer: a process of its own with the model's bytes, so that no
explanation takes time or memory from a server that infers. How a row is explained is headrace_explain's; the model is
loaded and asked by headrace_onnxruntime; here are the requests, and the bounds of each.
"""

__version__ = "0.1.0"

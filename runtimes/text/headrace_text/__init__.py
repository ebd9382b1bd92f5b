"""Serves one decoder of tokens as text, over OpenAI's API and the Open Inference Protocol's generate.

The package is the serving container of a ModelService whose runtime is `text`. It finds a folder laid out as
onnxruntime-genai's where the loader has put it. Requests join and leave the running batch at every step.
"""

__version__ = "0.1.0"

# What the protocol's metadata say.
SERVER_NAME = "headrace-text"
PLATFORM = "onnx_onnxv1"

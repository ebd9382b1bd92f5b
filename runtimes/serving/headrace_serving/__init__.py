"""What the serving containers have in common, whatever protocol they speak and whatever computes their models.

The package lies in the images of headrace_onnxruntime and headrace_tensorflow_serving, beside the one that is the
server. It knows HTTP, the container and its end, but no protocol, no flag's name, no tensor and no model: those are the
servers' own.
"""

__version__ = "0.1.0"

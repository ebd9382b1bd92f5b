"""The parts of TensorFlow that serve a model, without the rest, and the messages of TensorFlow Serving.

`import tensorflow` runs the package's __init__, which imports the whole Python API and, where it is there, all of
Keras: on a small CPU ten seconds, and some hundred megabytes for what a server never calls. So a bare package of that
name stands in its place, through which the modules below are found. They are TensorFlow's own, not its public API: the
version is pinned (requirements/tensorflow-serving.in), and every test of the server runs through here.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


def _pass_over_init() -> None:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or "tensorflow" in sys.modules:
        return
    package = ModuleType("tensorflow")
    package.__spec__ = spec
    package.__file__ = spec.origin
    package.__path__ = spec.submodule_search_locations or []
    sys.modules["tensorflow"] = package


_pass_over_init()

from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow.core.protobuf.config_pb2 import ConfigProto, RunOptions  # noqa: E402
from tensorflow.python.client import pywrap_tf_session as session_c_api  # noqa: E402
from tensorflow.python.client.session import Session  # noqa: E402
from tensorflow.python.framework import dtypes  # noqa: E402
from tensorflow.python.framework.errors_impl import OpError  # noqa: E402
from tensorflow.python.framework.ops import Graph  # noqa: E402
from tensorflow.python.framework.tensor_util import MakeNdarray, make_tensor_proto  # noqa: E402
from tensorflow.python.platform import tf_logging  # noqa: E402
from tensorflow.python.saved_model import loader_impl  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

__all__ = [
    "ConfigProto",
    "Graph",
    "MakeNdarray",
    "OpError",
    "RunOptions",
    "Session",
    "dtypes",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "loader_impl",
    "make_tensor_proto",
    "predict_pb2",
    "session_c_api",
    "tensor_pb2",
    "tf_logging",
    "types_pb2",
]

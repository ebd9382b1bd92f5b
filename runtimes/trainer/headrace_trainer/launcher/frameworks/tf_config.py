"""TF_CONFIG: how TensorFlow's MultiWorkerMirroredStrategy learns of its gang. Worker 0 is the chief."""

from __future__ import annotations

import json

from headrace_common.protocol.config import Workers


def tf_config(workers: Workers, index: int) -> str:
    """The variable's value for the worker `index`."""
    addresses = [f"{address}:{workers.port}" for address in workers.addresses]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})

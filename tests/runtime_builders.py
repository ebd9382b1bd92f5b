"""The servers of an installation: the release's own, as the chart has them, and those that a test adds."""

from __future__ import annotations

import json
from typing import Any

from headrace.serving.runtimes.table import Runtimes, parse_runtimes
from headrace_local.runtimes import serving_runtimes

# A server without metrics that Headrace reads.
PLAIN: dict[str, Any] = {
    "formats": [{"name": "ONNX"}],
    "image": "example.com/plain:1",
    "ports": {"http": 9000},
    "probes": {"readiness": {"tcpSocket": {"port": "http"}}},
}


def runtimes(onnxruntime: str = "headrace/onnxruntime:1", **added: dict[str, Any]) -> Runtimes:
    """The release's own, with this image of onnxruntime's, and others by name."""
    others = {name: f"headrace/{name.replace('_', '-')}:1" for name in ("text", "tensorflow_serving")}
    own = json.loads(serving_runtimes(onnxruntime=onnxruntime, **others))
    table = parse_runtimes(json.dumps(own | added))
    assert not table.refused, table.refused
    return table.runtimes

"""What a stage of preparation is told of Spark: the pod is its driver, and Spark itself makes the executors' pods.

The operator renders what is known before the pod is there. What the pod alone knows (its name, its address, where its
files are) the launcher adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_common.protocol.fields import Fields, wrong

# What the pod is told of itself: the executors belong to it, and find it there.
POD_NAME, POD_ADDRESS = "HEADRACE_POD_NAME", "HEADRACE_POD_IP"


@dataclass(frozen=True)
class Spark:
    """`executors` is how many are asked for, and `pending_seconds` how long none of them may be there. `settings` are
    Headrace's properties of Spark, `conf` the user's, which never are of the same name. `executor` is the template of
    an executor's pod. `staging` is the s3:// address below which each attempt has a folder for what executors write.
    """

    executors: int
    settings: Mapping[str, str]
    conf: Mapping[str, str]
    executor: Mapping[str, Any]
    staging: str
    pending_seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "executors": self.executors,
            "settings": dict(self.settings),
            "conf": dict(self.conf),
            "executor": dict(self.executor),
            "staging": self.staging,
            "pendingSeconds": self.pending_seconds,
        }


def parse_spark(fields: Fields, where: str) -> Spark:
    """Raises NotUnderstood."""
    return Spark(
        executors=fields.integer("executors", least=1),
        settings=_texts(fields, "settings", where),
        conf=_texts(fields, "conf", where),
        executor=fields.mapping("executor"),
        staging=fields.text("staging").rstrip("/"),
        pending_seconds=fields.number("pendingSeconds", default=600.0),
    )


def _texts(fields: Fields, name: str, where: str) -> dict[str, str]:
    values = fields.mapping(name)
    for key, value in values.items():
        if not isinstance(value, str):
            raise wrong(f"{where}.{name}.{key}", "a text", value)
    return values

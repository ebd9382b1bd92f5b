"""How far the loader of a serving pod is: what it answers on GET /progress, and what its record says in the end.

The pod's template may name another image, so the reader takes it as a claim: bounded, and None where it is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from headrace_common.protocol import PROTOCOL
from headrace_common.protocol.claims import count, number, text


@dataclass(frozen=True)
class Loading:
    """`bytes` of `total_bytes` (None: the manifest is not read yet) lie in the pod, and `fetched_bytes` of them came
    from storage since this start of the loader, `seconds` ago. `problem`: why none comes at present.
    """

    bytes: int
    total_bytes: int | None
    fetched_bytes: int
    seconds: float
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """The document."""
        found: dict[str, Any] = {"protocol": PROTOCOL, "bytes": self.bytes}
        if self.total_bytes is not None:
            found["totalBytes"] = self.total_bytes
        found |= {"fetchedBytes": self.fetched_bytes, "seconds": round(self.seconds, 3)}
        if self.problem:
            found["problem"] = self.problem
        return found


def parse_loading(body: bytes) -> Loading | None:
    """What /progress answered; None where it is not of the protocol."""
    return _loading(_object(body))


def parse_loaded(message: str) -> Loading | None:
    """The record of a loader that has loaded, from its termination message; None where there is none."""
    data = _object(message)
    return _loading(data | {"totalBytes": data.get("bytes")}) if data.get("outcome") == "Succeeded" else None


def _object(text: bytes | str) -> dict[str, Any]:
    """Empty where it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _loading(data: dict[str, Any]) -> Loading | None:
    if data.get("protocol") != PROTOCOL:
        return None
    present, fetched, seconds = count(data.get("bytes")), count(data.get("fetchedBytes")), number(data.get("seconds"))
    if present is None or fetched is None or seconds is None or seconds < 0:
        return None
    return Loading(present, count(data.get("totalBytes")), fetched, seconds, text(data.get("problem")))

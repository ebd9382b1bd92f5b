"""What the operator takes of what a launcher tells it (docs/reference/launcher-protocol.md): a claim of user code. The
schema has checked types and bounds; here is what a status can hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.api.scalars import METRIC_PATTERN
from headrace_common.protocol import report
from headrace_common.protocol.report import Live, Record

MAX_METRICS = 64
_METRIC_NAME = re.compile(METRIC_PATTERN)
_MAX_METRIC_NAME = 128


def parse_record(text: str) -> Record | None:
    """The record in a termination message, or None where there is none (a log tail, nothing, another protocol)."""
    record = report.parse_record(text)
    return None if record is None else replace(record, metrics=kept(record.metrics))


def read_live(data: Any) -> Live | None:
    """What /progress answered, from its JSON; None where it is not of the protocol."""
    live = report.parse_live(data)
    return None if live is None else replace(live, metrics=kept(live.metrics))


def kept(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a status can hold of them: at most MAX_METRICS, of those whose names a gate may have."""
    named = {name: value for name, value in metrics.items() if _is_metric_name(name)}
    return dict(list(named.items())[:MAX_METRICS])


def _is_metric_name(name: str) -> bool:
    return len(name) <= _MAX_METRIC_NAME and _METRIC_NAME.fullmatch(name) is not None

"""What was measured, for whoever has asked for something else: as a gate names it, the nearest first (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

from headrace.api.trainingjob import GateCheck
from headrace_common.evaluation import OF_JOB, PREFIXES, slice_of_key

_MAX_NAMED = 5


def said_of_measured(unknown: Collection[GateCheck], measured: Mapping[str, float]) -> str:
    """Which slices, or metrics, there are in the place of those that these checks have asked for in vain."""
    of_slices = {check.slice for check in unknown if check.slice}
    asked = {check.metric.removeprefix(OF_JOB) for check in unknown}
    slices = {found for metric in asked for name in measured if (found := slice_of_key(metric, name))}
    columns = {_column(one) for one in of_slices}
    if of_slices and (there := {one for one in slices if _column(one) in columns} or slices):
        return _named(_nearest(there, of_slices), len(there))
    metrics = {name for name in measured if not name.startswith(PREFIXES) and (of_slices or ":" not in name)}
    return _named(_nearest(metrics, asked), len(metrics)) if metrics else "no metrics were measured"


def _column(of_slice: str) -> str:
    return of_slice.partition("=")[0]


def _nearest(names: Iterable[str], wanted: Collection[str]) -> list[str]:
    likeness = {name: max(SequenceMatcher(None, name, one).ratio() for one in wanted) for name in names}
    return sorted(likeness, key=lambda name: (-likeness[name], name))[:_MAX_NAMED]


def _named(names: list[str], count: int) -> str:
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{', '.join(names)}{more} {'was' if count == 1 else 'were'} measured"

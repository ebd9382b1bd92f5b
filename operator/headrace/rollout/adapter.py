"""How the counters of a server are read: which of its series count requests, as what, and which has the latencies.

Part of a server's entry in the chart's values. Prometheus' text format is all that is asked of a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from headrace.values import Values

SeriesName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=128)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=64)]
# A label's value. With * at its end: whatever begins so. Empty: the label is not there.
LabelValue = Annotated[str, Field(pattern=r"^[^*]*\*?$", max_length=128)]


class Outcome(StrEnum):
    """What a series counts."""

    ANSWERED = "Answered"
    FAILED = "Failed"
    REJECTED = "Rejected"
    NON_FINITE = "NonFinite"


class LatencyUnit(StrEnum):
    SECONDS = "Seconds"
    MILLISECONDS = "Milliseconds"
    MICROSECONDS = "Microseconds"

    @property
    def in_seconds(self) -> float:
        return {self.SECONDS: 1.0, self.MILLISECONDS: 1e-3, self.MICROSECONDS: 1e-6}[self]


class Counter(Values):
    """A series that counts requests. Every value of its label has one outcome."""

    name: Annotated[SeriesName, Field(description="Name of the series.")]
    label: Annotated[LabelName | None, Field(description="The label whose value tells the outcome.")] = None
    ignored: Annotated[tuple[LabelValue, ...], Field(description="Values that are not counted, such as probes.")] = ()
    rejected: Annotated[tuple[LabelValue, ...], Field(description="Values of a client's fault, such as 4*.")] = ()
    failed: Annotated[tuple[LabelValue, ...], Field(description="Values of a server's fault, such as 5*.")] = ()
    otherwise: Annotated[
        Outcome,
        Field(
            description="Of all other values. Answered, Failed and Rejected are requests, each in one series; "
            "NonFinite are those of the answers with a NaN or an infinity in them."
        ),
    ] = Outcome.ANSWERED

    def outcome(self, labels: Mapping[str, str]) -> Outcome | None:
        """None: not counted."""
        value = labels.get(self.label, "") if self.label is not None else ""
        if _is_one_of(value, self.ignored):
            return None
        if _is_one_of(value, self.rejected):
            return Outcome.REJECTED
        return Outcome.FAILED if _is_one_of(value, self.failed) else self.otherwise


class Latency(Values):
    """A histogram of the time that requests took."""

    histogram: Annotated[SeriesName, Field(description="Its name, without _bucket.")]
    unit: Annotated[LatencyUnit, Field(description="Of its bounds.")]
    label: Annotated[LabelName | None, Field(description="A label by which not all of it counts.")] = None
    ignored: Annotated[tuple[LabelValue, ...], Field(description="Values of the label that are not counted.")] = ()

    def counts(self, labels: Mapping[str, str]) -> bool:
        return self.label is None or not _is_one_of(labels.get(self.label, ""), self.ignored)


class PodMetrics(Values):
    """Where a server's pod tells its counters, and how they are read."""

    port: Annotated[str, Field(description="Name of one of the ports.", pattern="^(http|metrics)$")] = "metrics"
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.-]+)+$", max_length=256)] = "/metrics"
    counters: Annotated[tuple[Counter, ...], Field(description="Each series.", min_length=1, max_length=16)]
    latency: Annotated[Latency | None, Field(description="Absent: no check of a latency can pass.")] = None

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [counter.name for counter in self.counters]
        if len(set(names)) != len(names):
            raise ValueError("counters has a series twice: give all of its values in one entry")
        return self


def _is_one_of(value: str, patterns: tuple[str, ...]) -> bool:
    return any(value.startswith(one[:-1]) if one.endswith("*") else value == one for one in patterns)

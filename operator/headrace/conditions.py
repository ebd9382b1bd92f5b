"""Conditions of a status, from what holds now and what they were before (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from headrace.api.meta import Condition, ConditionStatus

Fact: TypeAlias = tuple[bool | None, str, str]
"""Whether it holds (None: not known), the reason, the message."""

_STATUS = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}


def conditions(
    facts: Mapping[str, Fact], before: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """A condition for each fact, by its type; those of other types stay as they were."""
    old = {condition.type: condition for condition in before}
    written = []
    for kind, (holds, reason, message) in facts.items():
        value, known = _STATUS[holds], old.pop(kind, None)
        since = known.last_transition_time if known and known.status is value else now.replace(microsecond=0)
        written.append(
            Condition(
                type=kind,
                status=value,
                reason=reason,
                message=message,
                observed_generation=generation,
                last_transition_time=since,
            )
        )
    return (*written, *old.values())

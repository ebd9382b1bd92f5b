"""Which of the script's models was exported, as the run says it, and what is said where several could be meant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from headrace_common.json_numbers import to_json
from headrace_common.tags import MODEL_METRICS_TAG, MODEL_REASON_TAG, MODEL_TAG, REST
from headrace_trainer.launcher.messages import Candidate, Chosen
from headrace_trainer.launcher.tracking.metric_keys import Keys

_MAX_TAG = 5000  # characters that MLflow surely takes


def merged(before: Chosen | None, more: Chosen) -> Chosen:
    """One message, of two that have some of its metrics each."""
    if before is None:
        return more
    return Chosen(more.name, more.reason, {**before.metrics, **more.metrics}, more.unmeasured)


def tags(chosen: Chosen, keys: Keys) -> dict[str, str]:
    """The run's tags about the model; `keys` are those of its metrics."""
    values = {keys.of(name): to_json(value) for name, value in chosen.metrics.items()}
    others = {name if name == REST else keys.of(name): None for name in chosen.unmeasured}
    metrics: dict[str, float | str | None] = {**values, **others}
    text = _shortened(metrics)
    reason = {MODEL_REASON_TAG: chosen.reason} if chosen.reason else {}
    return {MODEL_TAG: chosen.name, MODEL_METRICS_TAG: text, **reason}


def as_text(measured: Mapping[str, float]) -> str:
    """What was measured, by its keys in the run, as MODEL_METRICS_TAG has it."""
    return _shortened({name: to_json(value) for name, value in measured.items()})


def _shortened(metrics: dict[str, float | str | None]) -> str:
    while len(text := json.dumps(metrics, separators=(",", ":"))) > _MAX_TAG:
        metrics.pop(REST, None)
        metrics.popitem()
        metrics[REST] = None
    return text


def ambiguity(candidates: Sequence[Candidate], kept: Sequence[bool], more: int, place: str) -> str:
    """What is said of several candidates; those that are `kept` lie below `place`, by their numbers."""
    named = [
        f"{number}. {candidate.name} ({candidate.origin}{'' if is_kept else _not_kept(candidate)})"
        for number, (candidate, is_kept) in enumerate(zip(candidates, kept, strict=True), start=1)
    ]
    if more:
        named.append(f"{more} more")
    where = f"; kept at {place}/NUMBER" if any(kept) else ""
    return f"{len(candidates) + more} models could be meant, and the script names none: {', '.join(named)}{where}"


def _not_kept(candidate: Candidate) -> str:
    return f", could not be exported: {candidate.problems}" if candidate.problems else ", could not be exported"

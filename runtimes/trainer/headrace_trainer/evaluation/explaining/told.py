"""What was explained, as explanations.json has it, and a part of evaluation.json."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from headrace_common.evaluation import METRICS, Task
from headrace_common.json_numbers import to_json
from headrace_explain.kind import Explanation
from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.data.values import text_of
from headrace_trainer.evaluation.explaining.features import beside_one_another
from headrace_trainer.evaluation.explaining.importance import REPEATS, Importance
from headrace_trainer.evaluation.explaining.run import Explained
from headrace_trainer.evaluation.explaining.sample import Why
from headrace_trainer.evaluation.rows import Rows

VERSION = 1
ARRAYS = "explanations.npz"
_MOST_IN_JSON = 1024  # values of an input's row; larger ones are in ARRAYS alone


def none(reason: str) -> dict[str, Any]:
    """Where nothing was explained."""
    return {"problems": [reason], "remarks": [], "rows": []}


def summary(found: Explained, task: Task) -> dict[str, Any]:
    """For evaluation.json and the card: which columns matter, and which rows were explained; no value of any."""
    told: dict[str, Any] = {"problems": list(found.problems), "remarks": list(found.remarks), "rows": []}
    if found.importance is not None:
        told["importance"] = _importance(found.importance, task)
    if (of := found.of) is not None:
        told |= {
            "method": str(of.method),
            "output": of.output,
            "is": found.model.said.kind,
            "background": of.background,
            "budget": found.wanted.budget,
            "evaluations": of.evaluations,
            "seed": found.seed,
            "rows": [one.row for one in found.chosen],
        }
        if found.features:
            told["meanAbsolute"] = _mean_absolute(found, of)
    return told


def as_json(found: Explained, task: Task, rows: Rows) -> dict[str, Any]:
    """The whole of it."""
    of = found.of
    each = [] if of is None else [_row(found, of, place, rows) for place in range(of.rows)]
    return {"version": VERSION, **summary(found, task), "rows": each}


def arrays(found: Explained) -> dict[str, Array]:
    """What is too large for JSON: of each such input the attributions, and the values where they are kept."""
    if found.of is None or found.feed is None:
        return {}
    kept: dict[str, Array] = {}
    for name, values in found.of.attributions.items():
        if prod(values.shape[1:]) > _MOST_IN_JSON:
            kept[f"attributions/{name}"] = values.astype(np.float32)
            if found.wanted.values:
                kept[f"values/{name}"] = found.feed[name]
    return kept


def _row(found: Explained, of: Explanation, place: int, rows: Rows) -> dict[str, Any]:
    chosen, target = found.chosen[place], int(of.target[place])
    told: dict[str, Any] = {
        "row": chosen.row,
        "why": str(chosen.why),
        "target": target,
        "class": found.model.name_of(target),
        "prediction": to_json(float(of.prediction[place])),
        "base": to_json(float(of.base[place])),
    }
    if of.gap is not None:
        told["gap"] = to_json(float(of.gap[place]))
    if found.wanted.values:
        told["label"] = _label(rows.label[chosen.row])
    told["inputs"] = [_input(found, of, name, place) for name in of.attributions]
    return told


def _input(found: Explained, of: Explanation, name: str, place: int) -> dict[str, Any]:
    attributions = of.attributions[name][place]
    told: dict[str, Any] = {"name": name, "shape": list(np.shape(attributions))}
    if found.features:
        told["columns"] = [feature.name for feature in found.features if feature.input == name]
    if prod(np.shape(attributions)) > _MOST_IN_JSON:
        return told | {"file": ARRAYS}
    told["attributions"] = [to_json(float(value)) for value in np.ravel(attributions)]
    if found.wanted.values and found.feed is not None:
        told["values"] = [_value(value) for value in np.ravel(found.feed[name][place])]
    return told


def _importance(found: Importance, task: Task) -> dict[str, Any]:
    named = zip(found.features, found.mean, found.deviation, strict=True)
    return {
        "metric": found.metric,
        "better": str(METRICS[task][found.metric]),
        "value": to_json(found.value),
        "samples": found.rows,
        "repeats": REPEATS,
        "columns": [
            {"name": feature.name, "mean": to_json(float(mean)), "deviation": to_json(float(deviation))}
            for feature, mean, deviation in named
        ],
    }


def _mean_absolute(found: Explained, of: Explanation) -> list[dict[str, Any]]:
    """Over the rows that chance has chosen: the worst mistakes are no usual rows."""
    usual = [place for place, one in enumerate(found.chosen) if one.why is Why.RANDOM]
    if not usual:
        return []
    means = np.abs(beside_one_another(of.attributions)[usual]).mean(axis=0)
    return [
        {"name": feature.name, "mean": to_json(float(mean))}
        for feature, mean in zip(found.features, means, strict=True)
    ]


def _label(value: Any) -> Any:
    return text_of(value) if np.ndim(value) == 0 else [_value(one) for one in np.ravel(value)]


def _value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return to_json(value) if isinstance(value, float) else value

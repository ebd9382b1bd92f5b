"""What the process of an evaluation has left, as metrics and tags of its run (pure, but for reading the file)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.evaluation import (
    BASELINE,
    DIFFERENCE,
    DIFFERENCE_HIGH,
    DIFFERENCE_LOW,
    MEAN_OVER_CLASSES,
    SAMPLES,
    WORSE_BY,
    metric_key,
)
from headrace_common.json_numbers import from_json

_NAME = "evaluation.json"  # written last
_OF_COMPARISON = {"difference": DIFFERENCE, "low": DIFFERENCE_LOW, "high": DIFFERENCE_HIGH, "worseBy": WORSE_BY}


@dataclass(frozen=True)
class Found:
    """`explained` is of how many rows the answer was; `whole` are the metrics of all rows, `metrics` everything by its
    key in the run; `of_class` is the class that precision, recall and f1 are of, as LABEL=CLASS, empty where there is
    none.
    """

    samples: int
    explained: int
    whole: Mapping[str, float]
    metrics: Mapping[str, float]
    of_class: str = ""


def is_left(folder: Path) -> bool:
    """Whether the process has measured everything."""
    return (folder / _NAME).is_file()


def read(folder: Path) -> Found | None:
    """None where the process has not come to its end."""
    path = folder / _NAME
    return found(json.loads(path.read_text())) if path.is_file() else None


def found(told: Mapping[str, Any]) -> Found:
    """What evaluation.json says, in the run's terms."""
    metrics: dict[str, float] = {}
    whole = {"slice": "", "samples": told["samples"], "metrics": told["metrics"], "baseline": told["baselineMetrics"]}
    for part in (whole, *told["slices"], *told["fairness"]):
        for prefix, values in (("", part["metrics"]), (BASELINE, part.get("baseline") or {})):
            for name, value in values.items():
                key = metric_key(name, part["slice"])
                _put(metrics, f"{prefix}{key}", value)
                metrics[f"{SAMPLES}{key}"] = float(part["samples"])
    for one in told["comparisons"]:
        key = metric_key(one["metric"], one["slice"])
        for name, prefix in _OF_COMPARISON.items():
            _put(metrics, f"{prefix}{key}", one[name])
    explained = len((told.get("explanations") or {}).get("rows", ()))
    whole_metrics = {name: metrics[name] for name in told["metrics"] if name in metrics}
    averaged = told.get("averaged", MEAN_OVER_CLASSES)
    of_class = "" if averaged == MEAN_OVER_CLASSES else averaged
    return Found(int(told["samples"]), explained, whole_metrics, metrics, of_class)


def _put(metrics: dict[str, float], key: str, value: Any) -> None:
    number = from_json(value)
    if number is not None:
        metrics[key] = number

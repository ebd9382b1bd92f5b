"""The folder of the results, which the launcher keeps with the run: all is in evaluation.json, the others show it."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from headrace_common.evaluation import MEAN_OVER_CLASSES, slice_of
from headrace_common.json_numbers import to_json
from headrace_trainer.evaluation.explaining import leave as explaining
from headrace_trainer.evaluation.explaining.run import Explained
from headrace_trainer.evaluation.files import card, pictures
from headrace_trainer.evaluation.instructions import Instructions
from headrace_trainer.evaluation.judgement import Compared, Judgement, Measured
from headrace_trainer.evaluation.refusal import words_of
from headrace_trainer.evaluation.rows import Items, Rows
from headrace_trainer.evaluation.said import Said
from headrace_trainer.evaluation.statistics import resamples
from headrace_trainer.evaluation.tasks.classification import Classified
from headrace_trainer.evaluation.tasks.regression import Predicted

NAME = "evaluation.json"
VERSION = 1


@dataclass(frozen=True)
class Left:
    """What evaluation.json says, and the pictures of the card."""

    told: Mapping[str, Any]
    drawn: Sequence[str]


def leave(
    instructions: Instructions,
    rows: Rows,
    items: Items,
    candidate: Said,
    baseline: Said | None,
    found: Judgement,
    format: str,
) -> Left:
    """Writes all of it. evaluation.json is the last, and is not there unless all numbers are."""
    folder = instructions.results
    told = as_json(instructions, rows, items, candidate, baseline, found, format)
    _slices(folder / "slices.csv", found)
    (folder / "environment.lock").write_text(_environment())
    try:
        drawn = pictures.draw(folder, instructions.evaluate.task, candidate, baseline, found)
    except Exception as error:  # noqa: BLE001 - a picture that cannot be drawn is worth no failure
        drawn = []
        print(f"headrace: the pictures were not drawn: {words_of(error)}", flush=True)
    left = Left(told, drawn)
    _write(folder, left)
    return left


def explain(instructions: Instructions, rows: Rows, left: Left, explained: Explained | str) -> None:
    """Adds what was explained, or why nothing was. The card shows no picture of a row."""
    folder = instructions.results
    told, drawn = explaining.leave(folder, explained, instructions.evaluate.task, rows)
    _write(folder, Left({**left.told, "explanations": told}, [*left.drawn, *drawn]))


def _write(folder: Path, left: Left) -> None:
    (folder / "model_card.md").write_text(card.markdown(left.told, left.drawn))
    (folder / "model_card.html").write_text(card.html(left.told, left.drawn))
    part = folder / f".{NAME}"
    part.write_text(json.dumps(left.told, indent=1, ensure_ascii=False) + "\n")
    part.rename(folder / NAME)


def as_json(
    instructions: Instructions,
    rows: Rows,
    items: Items,
    candidate: Said,
    baseline: Said | None,
    found: Judgement,
    format: str,
) -> dict[str, Any]:
    wanted = instructions.evaluate
    told: dict[str, Any] = {
        "version": VERSION,
        "task": str(wanted.task),
        "format": format,
        "model": wanted.model.as_json(),
        "baseline": None if wanted.baseline is None else wanted.baseline.as_json(),
        "data": {} if wanted.data is None else wanted.data.as_json(),
        "rows": rows.count,
        "samples": items.count,
        "output": {"name": candidate.output, "is": candidate.kind},
        "inputs": {name: list(columns) for name, columns in candidate.inputs.items()},
        "classes": list(candidate.classes),
        "metrics": _numbers(found.whole.metrics),
        "baselineMetrics": None if found.whole.baseline is None else _numbers(found.whole.baseline),
        "slices": [_measured(one) for one in found.measured[1:]],
        "fairness": [{**_measured(one), "groups": found.groups[one.slice]} for one in found.fairness],
        "comparisons": [_compared(one) for one in found.compared],
        "remarks": list(found.remarks),
        "card": wanted.card.as_json(),
        "about": dict(instructions.about),
    }
    if isinstance(candidate.answers, Classified) and wanted.data is not None:
        told["averaged"] = _averaged(candidate.answers, candidate.classes, wanted.data.label)
    if isinstance(candidate.answers, Predicted):
        told["bias"] = to_json(candidate.answers.bias(_all(items)))
    if baseline is not None:
        told["bootstrap"] = {"replicates": resamples.REPLICATES, "seed": instructions.seed}
    return told


def _averaged(answers: Classified, classes: Sequence[str], label: str) -> str:
    """What precision, recall and f1 are of."""
    return MEAN_OVER_CLASSES if answers.one is None else slice_of(label, classes[answers.one])


def _all(items: Items) -> Any:
    import numpy as np

    return np.arange(items.count)


def _numbers(metrics: Any) -> dict[str, Any]:
    return {name: to_json(float(value)) for name, value in metrics.items()}


def _measured(one: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {"slice": one.slice, "samples": one.samples, "metrics": _numbers(one.metrics)}
    return found | ({} if one.baseline is None else {"baseline": _numbers(one.baseline)})


def _compared(one: Compared) -> dict[str, Any]:
    numbers = {
        "value": one.value,
        "baseline": one.baseline,
        "difference": one.difference.value,
        "low": one.difference.low,
        "high": one.difference.high,
        "worseBy": one.difference.worse_by,
    }
    about = {"metric": one.metric, "slice": one.slice, "confidence": one.confidence, "samples": one.samples}
    return about | _numbers(numbers)


def _slices(path: Path, found: Judgement) -> None:
    """A line for all rows, and for each slice."""
    names = list(found.whole.metrics)
    has_baseline = found.whole.baseline is not None
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["slice", "samples", *names, *(f"baseline {name}" for name in names if has_baseline)])
        for one in found.measured:
            others = [] if one.baseline is None else [one.baseline.get(name, "") for name in names]
            lines.writerow(
                [_safe(one.slice or "(all)"), one.samples, *(one.metrics.get(n, "") for n in names), *others]
            )


def _safe(text: str) -> str:
    """A spreadsheet takes what begins like this for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def _environment() -> str:
    """What judged the model: the interpreter and all packages, each with its version."""
    packages = {f"{one.name}=={one.version}" for one in metadata.distributions() if one.name}
    return "".join(f"{line}\n" for line in (f"# Python {platform.python_version()}", *sorted(packages, key=str.lower)))

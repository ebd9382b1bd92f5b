"""What the launcher tells of the evaluation, in a file: HEADRACE_EVALUATION names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace_common.protocol.evaluate import Evaluate, parse_evaluate
from headrace_common.protocol.fields import Fields

VARIABLE = "HEADRACE_EVALUATION"


@dataclass(frozen=True)
class Instructions:
    """`dataset` is a file or a folder, `model` and `baseline` are models' folders; all of these are only read. What is
    found goes to `results`, an empty folder. `about` is what the model's card says of the training.
    """

    evaluate: Evaluate
    dataset: Path
    model: Path
    baseline: Path | None
    results: Path
    seed: int
    about: Mapping[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        return json.dumps(
            {
                "evaluate": self.evaluate.as_json(),
                "dataset": str(self.dataset),
                "model": str(self.model),
                "baseline": None if self.baseline is None else str(self.baseline),
                "results": str(self.results),
                "seed": self.seed,
                "about": dict(self.about),
            }
        )


def read_instructions(path: Path) -> Instructions:
    """What `as_text` wrote. Raises NotUnderstood, ValueError, OSError: faults of Headrace."""
    found = json.loads(path.read_text())
    evaluate = parse_evaluate(Fields(found["evaluate"], VARIABLE), VARIABLE)
    if evaluate is None:
        raise ValueError(f"{VARIABLE} says nothing of an evaluation")
    return Instructions(
        evaluate=evaluate,
        dataset=Path(found["dataset"]),
        model=Path(found["model"]),
        baseline=None if found["baseline"] is None else Path(found["baseline"]),
        results=Path(found["results"]),
        seed=int(found["seed"]),
        about=found["about"],
    )

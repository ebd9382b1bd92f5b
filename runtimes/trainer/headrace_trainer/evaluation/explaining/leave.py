"""The files of what was explained, beside those of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from headrace_common.evaluation import Task
from headrace_common.explanation import EXPLANATIONS
from headrace_trainer.evaluation.explaining import pictures, told
from headrace_trainer.evaluation.explaining.run import Explained
from headrace_trainer.evaluation.refusal import words_of
from headrace_trainer.evaluation.rows import Rows


def leave(folder: Path, found: Explained | str, task: Task, rows: Rows) -> tuple[dict[str, Any], list[str]]:
    """What evaluation.json and the card say of it, and the names of the pictures that show no row."""
    if isinstance(found, str):
        return told.none(found), []
    try:
        summary = told.summary(found, task)
        _write(folder, found, task, rows)
    except Exception as error:  # noqa: BLE001 - the model was judged: whatever this is, it is no reason to fail
        reason = f"the explanations could not be written: {words_of(error)}"
        print(f"headrace: {reason}", flush=True)
        return told.none(reason), []
    try:
        return summary, pictures.draw(folder, found)
    except Exception as error:  # noqa: BLE001 - a picture that cannot be drawn is worth no failure
        print(f"headrace: the explanations were not drawn: {words_of(error)}", flush=True)
        return summary, []


def _write(folder: Path, found: Explained, task: Task, rows: Rows) -> None:
    whole = told.as_json(found, task, rows)
    (folder / EXPLANATIONS).write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    if arrays := told.arrays(found):
        np.savez_compressed(folder / told.ARRAYS, allow_pickle=False, **arrays)

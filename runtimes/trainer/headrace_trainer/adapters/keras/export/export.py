"""Exports the model that is meant: a SavedModel, an ONNX model, and signature.json.

Both formats have one signature with named inputs of the data's own types, and any batch size (and any length where
the model takes one) unless the script has fixed it. A format counts as exported when its file, loaded again, computes
what Keras computes. One that cannot be made does not keep the others back: the launcher is told why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters import input_example
from headrace_trainer.adapters.keras.export.formats import full_precision, told, write
from headrace_trainer.adapters.keras.export.servable import Servable, servable
from headrace_trainer.adapters.keras.models.choose import choose, described, name_of
from headrace_trainer.adapters.messages import in_json
from headrace_trainer.adapters.models import Trained
from headrace_trainer.adapters.session import Session

_MAX_CANDIDATES = 5
_MAX_PROBLEMS = 300
_MAX_NAMES = 100


def export(session: Session, main: ModuleType, directory: Path) -> None:
    """Writes all wanted formats of the model that is meant below `directory`, and tells the launcher about each. Where
    several could be meant, each lies in a folder of its own beside it.
    """
    messages, formats = session.messages, session.settings.formats
    messages.send("exporting")
    if problem := session.models.cannot_be_read:
        for name in formats:
            messages.send("exportFailed", format=name, message=problem)
        return
    found = choose(session, main)
    if found.chosen is not None:
        metrics, unmeasured = session.models.metrics_of(found.chosen)
        if len(unmeasured) > _MAX_NAMES:
            unmeasured = ["*"]  # all that is not among the metrics
        about = {"name": name_of(found.chosen, main), "reason": found.reason, "unmeasured": unmeasured}
        messages.send("model", **about, metrics=in_json(metrics))
        made = _write_all(session, found.chosen, directory)
        for name, problem in made.problems.items():
            messages.send("exportFailed", format=name, message=problem)
        if made.formats:
            messages.send("exported", dir=str(directory), formats=made.formats, remark=made.remark)
        return
    if not found.candidates:
        none = "no model was trained that could be found in the script"
        none += f" ({found.reason})" if found.reason else ""
        for name in formats:
            messages.send("exportFailed", format=name, message=none)
        return
    candidates = []
    for number, candidate in enumerate(found.candidates[:_MAX_CANDIDATES], start=1):
        folder = candidates_folder(directory) / str(number)
        made = _write_all(session, candidate.model, folder)
        about = {"name": candidate.name, "origin": candidate.origin}
        problems = "; ".join(f"{name}: {problem}" for name, problem in made.problems.items())
        candidates.append({**about, "dir": str(folder), "formats": made.formats, "problems": problems[:_MAX_PROBLEMS]})
    more = len(found.candidates) - len(candidates)
    messages.send("ambiguous", candidates=candidates, more=more)


def candidates_folder(directory: Path) -> Path:
    """Beside the folder of the model that is meant."""
    return directory.with_name(f"{directory.name}-candidates")


@dataclass(frozen=True)
class _Made:
    """The formats that were written, and why the others were not."""

    formats: list[Format]
    problems: dict[Format, str]
    remark: str = ""


def _write_all(session: Session, model: Any, directory: Path) -> _Made:
    trained, formats = described(session.models, model), session.settings.formats
    directory.mkdir(parents=True, exist_ok=True)
    done: list[Format] = []
    problems: dict[Format, str] = {}
    with full_precision():
        try:
            made = servable(trained)
            (directory / "signature.json").write_text(made.signature.to_json(), encoding="utf-8")
            if session.settings.keeps_rows:
                _write_input_example(made, trained, directory)
        except Exception as error:  # noqa: BLE001 - the model is the user's code: whatever it raises is told, not raised again
            return _Made([], dict.fromkeys(formats, told(error)))
        for name in formats:
            try:
                remark = write(made, name, directory / name.lower(), session.text)
            except Exception as error:  # noqa: BLE001 - as above, and the converters raise whatever they meet
                problems[name] = told(error)
            else:
                done.append(name)
                if remark:
                    session.messages.warn(name.lower(), f"the model was exported as {name} {remark}")
    return _Made(done, problems, _remark(made.random))


def _remark(random: list[str]) -> str:
    if not random:
        return ""
    which = f"outputs {', '.join(random)} were" if len(random) > 1 else f"output {random[0]} was"
    return (
        f"{which} compared with Keras in shape only: the model itself computes other values in each call (it draws "
        "random numbers, or keeps something between calls)"
    )


def _write_input_example(made: Servable, trained: Trained, directory: Path) -> None:
    """Only of rows that each attempt would take: a model's digest is not to depend on what was drawn."""
    if made.rows is None or not getattr(trained.rows, "are_same", False):
        return
    inputs = made.signature.inputs
    by_name = dict(zip((tensor.name for tensor in inputs), made.rows, strict=True))
    text = input_example.encode(by_name, is_batch_free=inputs[0].shape[0] is None)
    if text is not None:
        (directory / input_example.NAME).write_text(text, encoding="utf-8")

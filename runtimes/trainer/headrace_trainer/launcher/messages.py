"""What the child says: newline-delimited JSON on a pipe (HEADRACE_CHILD_FD), as values.

Epochs count from 0 and steps from 1 over the whole fit here, as Keras counts; what leaves the pod counts epochs from 1.
Everything is a claim of user code: what does not have the shape of a message is refused, never guessed at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.json_numbers import from_json

MAX_LINE = 64 * 1024
MAX_METRICS = 200
MAX_NAME = 128
MAX_CANDIDATES = 5
MAX_FORMATS = 8
MAX_PROBLEM = 1000


class BadMessage(ValueError):
    """The line is not a message of the contract."""


@dataclass(frozen=True)
class Fit:
    """A fit began (the first is 0). `epochs` is where it ends, `first_epoch` where its script has told it to begin."""

    fit: int
    epochs: int
    steps_per_epoch: int | None
    steps: int | None = None  # of all epochs, where that is no multiple
    first_epoch: int = 0


@dataclass(frozen=True)
class Replay:
    """Data that was trained on is gone through again: so far, of the fit's steps."""

    fit: int
    epoch: int
    step: int


@dataclass(frozen=True)
class Step:
    """A step ended; `time` in milliseconds since 1970. Which steps are for the run in MLflow, and which only show how
    far training is, the script's process decides: the first are the same in each attempt, so that they can be
    compared.
    """

    fit: int
    epoch: int
    step: int
    time: int
    metrics: Mapping[str, float]
    is_logged: bool = True


@dataclass(frozen=True)
class Epoch:
    """An epoch ended with these metrics, those of its validation included."""

    fit: int
    epoch: int
    step: int
    time: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class FitEnd:
    """A fit ended."""

    fit: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Evaluate:
    """model.evaluate returned these."""

    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint lies in `folder`."""

    folder: Path
    fit: int
    epoch: int
    step: int
    time: int


@dataclass(frozen=True)
class Resume:
    """Training goes on from a checkpoint. `exact` is None while that cannot be told."""

    fit: int
    epoch: int
    step: int
    exact: bool | None
    message: str


@dataclass(frozen=True)
class ScriptEnded:
    """The script has come to its end, in whatever way, and has not ended its process itself."""


@dataclass(frozen=True)
class Trained:
    """Sent at the end: what was trained, and how many steps of it; none where it was trained elsewhere, and is meant
    all the same.
    """

    kind: str
    steps: int


@dataclass(frozen=True)
class Exporting:
    """The script has ended well; the model is being exported."""


@dataclass(frozen=True)
class Chosen:
    """The model that is exported: its name, why it is the one (empty where there was no other), and what was measured
    on the weights that it has. `unmeasured` are the names of what was measured on others only.
    """

    name: str
    reason: str
    metrics: Mapping[str, float]
    unmeasured: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """One of several models that could be meant, exported below `folder`."""

    name: str
    origin: str
    folder: Path
    formats: tuple[str, ...]
    problems: str = ""  # why other formats were not made


@dataclass(frozen=True)
class Ambiguous:
    """Several models could be meant, these and `more` others; none is chosen."""

    candidates: tuple[Candidate, ...]
    more: int


@dataclass(frozen=True)
class Exported:
    """The model lies in `folder`, a subfolder a format. `remark` is of all that were exported, or empty."""

    folder: Path
    formats: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True)
class ExportFailed:
    """A format cannot be made of this model."""

    format: str
    message: str


@dataclass(frozen=True)
class ExportTrial:
    """In the middle of a fit the export was tried: `formats` can be made of `model`, and why others cannot."""

    model: str
    seconds: float
    formats: tuple[str, ...]
    problems: Mapping[str, str]


@dataclass(frozen=True)
class ScriptException:
    """The script raised, at `time` in milliseconds since 1970. `module` is the one that was not found.
    `frames` are files and lines of the traceback, the outermost first.
    """

    time: int

    exception: str
    message: str
    module: str | None
    traceback: str
    frames: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Refused:
    """The script cannot be followed, and has been ended at once; `hint` says what its author can do. `reason` is one of
    the launcher's, or empty.
    """

    message: str
    hint: str
    reason: str = ""


@dataclass(frozen=True)
class Warned:
    """Something about `subject` is not as a user may expect it; the training goes on."""

    subject: str
    message: str


Message = (
    Fit
    | Replay
    | Step
    | Epoch
    | FitEnd
    | Evaluate
    | Checkpoint
    | Resume
    | ScriptEnded
    | Trained
    | Exporting
    | Chosen
    | Ambiguous
    | Exported
    | ExportFailed
    | ExportTrial
    | ScriptException
    | Refused
    | Warned
)


# Half of a surrogate pair, perhaps: JSON can name it, and no text has it.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_message(line: bytes) -> Message:
    """The message in one line; what is no Unicode in its texts is replaced. Raises BadMessage."""
    try:
        data = json.loads(line.decode(errors="replace"))
        if _SURROGATE.search(line):
            data = json.loads(json.dumps(data, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadMessage("not an object")
    kind = data.get("type")
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise BadMessage(f"unknown type {str(kind)[:40]!r}")
    return build(data)


def _integer(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise BadMessage(f"{name} is not a count")
    return value


def _optional_integer(data: dict[str, Any], name: str) -> int | None:
    return None if data.get(name) is None else _integer(data, name)


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise BadMessage(f"{name} is not a text")
    return value


def _frames(data: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    frames = data.get("frames")
    pairs = [tuple(frame) for frame in frames if isinstance(frame, list)] if isinstance(frames, list) else []
    return tuple(
        (pair[0], pair[1]) for pair in pairs if len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
    )


def _subject(data: dict[str, Any]) -> str:
    """It becomes part of a tag's name in MLflow."""
    value = _text(data, "subject")
    if not re.fullmatch("[a-z-]{1,40}", value):
        raise BadMessage(f"subject {value[:40]!r} is not a name")
    return value


def _metrics(data: dict[str, Any]) -> dict[str, float]:
    value = data.get("metrics")
    if not isinstance(value, dict):
        raise BadMessage("metrics is not an object")
    numbers = ((name, from_json(number)) for name, number in value.items())
    return dict([(name, number) for name, number in numbers if number is not None][:MAX_METRICS])


def _names(data: dict[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    if not isinstance(value, list):
        raise BadMessage(f"{name} is not a list")
    return tuple(str(item)[:MAX_NAME] for item in value[:MAX_METRICS])


def _ambiguous(data: dict[str, Any]) -> Ambiguous:
    given = data.get("candidates")
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise BadMessage("candidates is not a list of objects")
    candidates = tuple(
        Candidate(
            _text(item, "name")[:MAX_NAME],
            _text(item, "origin")[:MAX_NAME],
            Path(_text(item, "dir")),
            _formats(item),
            str(item.get("problems") or "")[:1000],
        )
        for item in given[:MAX_CANDIDATES]
    )
    return Ambiguous(candidates, _integer(data, "more"))


def _export_trial(data: dict[str, Any]) -> ExportTrial:
    seconds, problems = from_json(data.get("seconds")), data.get("problems")
    if seconds is None or not math.isfinite(seconds) or not isinstance(problems, dict):
        raise BadMessage("seconds is not a number, or problems is not an object")
    told = {str(name)[:MAX_NAME]: str(problem)[:MAX_PROBLEM] for name, problem in list(problems.items())[:MAX_FORMATS]}
    return ExportTrial(_text(data, "model")[:MAX_NAME], seconds, _formats(data)[:MAX_FORMATS], told)


def _exact(data: dict[str, Any]) -> bool | None:
    value = data.get("exact")
    return value if isinstance(value, bool) else None


def _formats(data: dict[str, Any]) -> tuple[str, ...]:
    value = data.get("formats")
    if not isinstance(value, list):
        raise BadMessage("formats is not a list")
    return tuple(str(item) for item in value)


def _step(data: dict[str, Any], *, is_logged: bool) -> Step:
    fit, epoch, step, time = (_integer(data, name) for name in ("fit", "epoch", "step", "time"))
    return Step(fit, epoch, step, time, _metrics(data), is_logged)


_BUILDERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "fit": lambda d: Fit(
        _integer(d, "fit"),
        _integer(d, "epochs"),
        _optional_integer(d, "stepsPerEpoch"),
        _optional_integer(d, "steps"),
        _optional_integer(d, "firstEpoch") or 0,
    ),
    "replay": lambda d: Replay(_integer(d, "fit"), _integer(d, "epoch"), _integer(d, "step")),
    "step": lambda d: _step(d, is_logged=True),
    "progress": lambda d: _step(d, is_logged=False),
    "epoch": lambda d: Epoch(
        _integer(d, "fit"), _integer(d, "epoch"), _integer(d, "step"), _integer(d, "time"), _metrics(d)
    ),
    "fitEnd": lambda d: FitEnd(_integer(d, "fit"), _metrics(d)),
    "evaluate": lambda d: Evaluate(_metrics(d)),
    "checkpoint": lambda d: Checkpoint(
        Path(_text(d, "dir")), _integer(d, "fit"), _integer(d, "epoch"), _integer(d, "step"), _integer(d, "time")
    ),
    "resume": lambda d: Resume(
        _integer(d, "fit"), _integer(d, "epoch"), _integer(d, "step"), _exact(d), str(d.get("message") or "")
    ),
    "ended": lambda d: ScriptEnded(),
    "trained": lambda d: Trained(_text(d, "kind"), _integer(d, "steps")),
    "exporting": lambda d: Exporting(),
    "model": lambda d: Chosen(
        _text(d, "name")[:MAX_NAME], _text(d, "reason")[:1000], _metrics(d), _names(d, "unmeasured")
    ),
    "ambiguous": _ambiguous,
    "exported": lambda d: Exported(Path(_text(d, "dir")), _formats(d), str(d.get("remark") or "")),
    "exportFailed": lambda d: ExportFailed(_text(d, "format"), str(d.get("message") or "")),
    "exportTrial": _export_trial,
    "exception": lambda d: ScriptException(
        _integer(d, "time"),
        _text(d, "exception"),
        str(d.get("message") or ""),
        d["module"] if isinstance(d.get("module"), str) else None,
        str(d.get("traceback") or ""),
        _frames(d),
    ),
    "refused": lambda d: Refused(_text(d, "message"), str(d.get("hint") or ""), str(d.get("reason") or "")),
    "warning": lambda d: Warned(_subject(d), _text(d, "message")),
}

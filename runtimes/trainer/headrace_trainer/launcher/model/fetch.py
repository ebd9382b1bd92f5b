"""A model that is judged comes from the store by its manifest: each file has the sum that stands there, and the
manifest the digest that was asked for. Other bytes are not judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace_common import model_manifest
from headrace_common.formats import ModelFormat
from headrace_common.manifest import NAME, File, Invalid, digest_of, sha256_of
from headrace_common.model_manifest import ModelManifest
from headrace_common.protocol.evaluate import EvaluatedModel
from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store, TooLarge

_JUDGED = (ModelFormat.ONNX, ModelFormat.TENSORFLOW)  # the first that there is
Wanted = Callable[[ModelManifest], Sequence[File]]


class Unreadable(Exception):
    """What is wrong with the model, in words that follow its name."""


class NoFormat(Unreadable):
    """It is whole, and was not exported in the format that is asked for."""


def whole(manifest: ModelManifest) -> Sequence[File]:
    """All of its files."""
    return manifest.files


def of_format(name: str) -> Wanted:
    """Those of this format, or of the one that is judged where nobody names one."""

    def wanted(manifest: ModelManifest) -> Sequence[File]:
        chosen = next((one for one in _JUDGED if one in manifest.formats and name in ("", one)), None)
        if chosen is None:
            there = ", ".join(sorted(manifest.formats)) or "none"
            raise NoFormat(f"has no format {name or 'that can be run'}; it has {there}")
        return manifest.of_format(chosen)

    return wanted


def fetch_candidate(model: EvaluatedModel, folder: Path, wanted: Wanted, store: Store, outage: float) -> None:
    """What the training has made. Raises Failed (EvaluatedModelChanged, EvaluationFailed, Storage…)."""
    try:
        _fetch(model, folder, wanted, store, outage)
    except NoFormat as error:
        hint = "Name one that it has in evaluate.format, or more in output.formats, in a new TrainingJob."
        raise Failed(Failure(Reason.EVALUATION_FAILED, f"the model at {model.uri} {error}", hint)) from error
    except Unreadable as error:
        raise Failed(
            Failure(
                Reason.EVALUATED_MODEL_CHANGED,
                f"the model at {model.uri} {error}",
                "It is not the model that the training has made: somebody has changed or deleted it since. Train it "
                "anew, by a new TrainingJob.",
            )
        ) from error


def fetch_baseline(
    model: EvaluatedModel, named: str, folder: Path, wanted: Wanted, store: Store, outage: float
) -> None:
    """The version `named`. Raises Failed (BaselineUnreadable, StorageUnavailable)."""
    hint = (
        "Let the alias of evaluate.baseline point at a version whose files are there, or leave evaluate.baseline out "
        "of a new TrainingJob: the model is then judged alone."
    )
    try:
        _fetch(model, folder, wanted, store, outage)
    except Unreadable as error:
        raise Failed(
            Failure(Reason.BASELINE_UNREADABLE, f"the baseline, {named} at {model.uri}, {error}", hint)
        ) from error
    except Failed as error:
        if error.failure.reason not in (Reason.STORAGE_FORBIDDEN, Reason.BUCKET_NOT_FOUND):
            raise
        message = f"the baseline, {named}: {error.failure.message}"
        raise Failed(Failure(Reason.BASELINE_UNREADABLE, message, f"{error.failure.hint} Or: {hint}")) from error


def _fetch(model: EvaluatedModel, folder: Path, wanted: Wanted, store: Store, outage: float) -> None:
    """Leaves the files, and the manifest, in `folder`. Raises Unreadable, Failed (Storage…)."""
    place = Place.parse(model.uri)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        content = store.read(place.below(NAME), Patience(outage), model_manifest.MAX_BYTES)
    except NotFound:
        raise Unreadable(f"has no {NAME}") from None
    except TooLarge as error:
        raise Unreadable(f"has a {NAME} that is none: {error}") from error
    if (digest := digest_of(content)) != model.digest:
        raise Unreadable(f"has the digest {digest}, and is to have {model.digest}")
    try:
        files = wanted(model_manifest.parse(content))
    except Invalid as error:
        raise Unreadable(f"has a {NAME} that {error}") from error
    for file in files:
        _fetch_file(file, place.below(file.path), folder / file.path, store, outage)
    (folder / NAME).write_bytes(content)
    log(f"{model.uri}: {sum(file.size for file in files)} bytes, whose digest is {model.digest}")


def _fetch_file(file: File, place: Place, path: Path, store: Store, outage: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = store.look(place, Patience(outage))
        if found.size != file.size:  # not downloaded: it may be of any size
            raise Unreadable(f"has {found.size} bytes as {file.path}, and is to have {file.size}")
        store.download(place, path, Patience(outage))
    except NotFound:
        raise Unreadable(f"lacks its file {file.path}") from None
    if sha256_of(path) != file.sha256:
        raise Unreadable(f"has other bytes in {file.path} than its manifest says")

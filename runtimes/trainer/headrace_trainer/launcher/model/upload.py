"""The exported model's way to S3: the files, then the manifest, whose digest is the model's identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_common import manifest, model_manifest
from headrace_common.formats import FILES, FOLDERS, NOT_SERVED
from headrace_common.paths import why_unsafe
from headrace_common.s3 import Place
from headrace_common.tags import EXPORT_TAG_PREFIX
from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.messages import Candidate, Exported
from headrace_trainer.launcher.model import mlmodel
from headrace_trainer.launcher.packages.installed import installed
from headrace_trainer.launcher.store.names import shown
from headrace_trainer.launcher.store.s3 import Patience, Store

_CANNOT_BE_MADE = "cannot be made of this model"
_MAX_NOTE = 600
_MAX_TAG = 1000


@dataclass(frozen=True)
class Problem:
    """Why there is no format: words that follow its name, and a reason where one is known."""

    words: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.words}: {self.reason}" if self.reason else self.words


@dataclass(frozen=True)
class Export:
    """What came of the formats that were asked for: those that were made, and why the others were not. `remark` is of
    those that were made.
    """

    made: tuple[str, ...]
    failed: Mapping[str, Problem]
    remark: str = ""

    @property
    def problems(self) -> list[str]:
        """A sentence a format that there is not."""
        return [f"{name} {problem}" for name, problem in self.failed.items()]

    @property
    def note(self) -> str:
        """What is to be known of a model that not everything went well with; empty where it did. One short line."""
        return " ".join("; ".join([*self.problems, *filter(None, [self.remark])]).split())[:_MAX_NOTE]

    @property
    def tags(self) -> dict[str, str]:
        """What the run says of each format."""
        made = f"exported; {self.remark}" if self.remark else "exported"
        failed = {name: f"failed: {problem.reason or problem.words}" for name, problem in self.failed.items()}
        texts = dict.fromkeys(self.made, made) | failed
        return {f"{EXPORT_TAG_PREFIX}{name}": text[:_MAX_TAG] for name, text in sorted(texts.items())}


def united(before: Exported | None, more: Exported) -> Exported:
    """Several processes of a script may hand over a format each: what lies in one folder is one model."""
    if before is None or before.folder != more.folder:
        return more
    return Exported(more.folder, tuple(dict.fromkeys([*before.formats, *more.formats])), more.remark or before.remark)


def judge_export(
    wanted: tuple[str, ...],
    exported: Exported | None,
    failed: Mapping[str, str],
    folder: Path,
    framework: Framework,
    optional: tuple[str, ...] = (),
) -> Export:
    """From what the script's process has said (`failed` are reasons by format), which may be too little or too much:
    what is not in the export's `folder` was not exported. Of what is wanted, the `optional` is not missed.
    """
    is_ours = exported is not None and exported.folder == folder
    claimed = exported.formats if exported is not None and is_ours else ()
    claimed = tuple(name for name in claimed if name in FILES and (folder / FILES[name]).is_file())
    faults = {name: why for name in claimed if (why := framework.fault(name, folder)) is not None}
    faults |= _unloadable(claimed, folder)
    problems = {name: Problem(framework.words_of_unusable, why) for name, why in faults.items()}
    problems |= {name: Problem(_CANNOT_BE_MADE, reason) for name, reason in failed.items()}
    made = tuple(sorted(name for name in wanted if name in claimed and name not in problems))
    if made == (NOT_SERVED,) and len(wanted) > 1:
        made = ()  # nothing that a service could load: that is not what was asked for
    missing = Problem(framework.words_of_missing)
    asked_for = [name for name in wanted if name not in optional or name in problems]
    without = {name: problems.get(name, missing) for name in asked_for if name not in made}
    return Export(made, without, exported.remark if exported is not None else "")


def formats_of(candidate: Candidate, export_folder: Path) -> tuple[str, ...]:
    """The formats that lie in a candidate's folder, which is beside that of the model that is meant."""
    if not candidate.folder.name.isdecimal() or candidate.folder.parent != export_folder.with_name(
        f"{export_folder.name}-candidates"
    ):
        return ()
    there = tuple(name for name in candidate.formats if name in FILES and (candidate.folder / FILES[name]).is_file())
    unloadable = _unloadable(there, candidate.folder)
    return tuple(name for name in there if name not in unloadable)


def _unloadable(formats: Iterable[str], folder: Path) -> dict[str, str]:
    """Formats of which a file has a name that neither the store nor a service's loader takes, and which one; and those
    with which the model has more files than a loader reads a list of.
    """
    found: dict[str, str] = {}
    listed: list[manifest.File] = []
    for name in sorted(formats):
        below = sorted((path.relative_to(folder).as_posix(), path) for path in (folder / FOLDERS[name]).rglob("*"))
        bad = next(((path, why) for path, _ in below if (why := why_unsafe(path)) is not None), None)
        if bad is not None:
            found[name] = f"its file {shown(bad[0])} {bad[1]}"
            continue
        files = [manifest.File(called, "0" * 64, path.stat().st_size) for called, path in below if path.is_file()]
        if (too_long := _too_long([*listed, *files])) is not None:
            found[name] = f"with its {len(files)} files {too_long}"
        else:
            listed += files
    return found


def _too_long(files: Sequence[manifest.File]) -> str | None:
    """Why nobody loads a model with these files in its formats, in words that follow which ones; None where any does.
    Their sums count by their length alone.
    """
    most_files = model_manifest.MAX_FILES - model_manifest.OTHER_FILES
    if len(files) > most_files:
        return f"the model has {len(files)}, and a model may have {most_files}"
    formats = {"formats": dict(FOLDERS)}
    length = len(manifest.encode(tuple(files), formats)) + model_manifest.OTHER_BYTES
    if length > model_manifest.MAX_BYTES:
        return (
            f"the list of the model's files has {length} bytes, and who loads a model reads at most "
            f"{model_manifest.MAX_BYTES}: have fewer files, or shorter names"
        )
    return None


@dataclass(frozen=True)
class Model:
    """A model in S3."""

    uri: str
    digest: str
    formats: tuple[str, ...]


def upload(
    folder: Path, formats: tuple[str, ...], packages: Path, uri: str, store: Store, outage_seconds: float
) -> Model:
    """The files of `formats` below `folder`, and those that they share, to `uri`, which no other attempt writes to.
    `packages` is the folder of what requirements.txt names. Raises Failed (Storage…).
    """
    place = Place.parse(uri)
    mlmodel.write(folder, formats, installed(packages))
    others = tuple(f"{FOLDERS[name]}/" for name in FOLDERS if name not in formats)
    files = tuple(
        file
        for file in manifest.files_below(folder)
        if not file.path.startswith(others) and why_unsafe(file.path) is None
    )
    text = manifest.encode(files, {"formats": {name: FOLDERS[name] for name in formats}})
    for file in files:
        store.upload(folder / file.path, place.below(file.path), Patience(outage_seconds))
    store.write(place.below(manifest.NAME), text, Patience(outage_seconds))
    return Model(uri, manifest.digest_of(text), formats)

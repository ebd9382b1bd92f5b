"""What lies at a path that somebody gives: a model of which format, in which files, and what is wrong with it.

Judged here as the launcher judges it in the pod, before a byte is sent. Nothing is read into memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.adding.errors import CannotAdd
from headrace.adding.others import what_to_do
from headrace.sentences import joined
from headrace_common import manifest
from headrace_common.formats import FOLDERS, ModelFormat
from headrace_common.handed_over import files_of_weights, signatures, why_unusable
from headrace_common.manifest import File
from headrace_common.model_manifest import MAX_BYTES as MAX_MANIFEST
from headrace_common.model_manifest import MAX_FILES as MOST_OF_A_VERSION
from headrace_common.model_manifest import OTHER_BYTES, OTHER_FILES
from headrace_common.own_signature import SERVED, NotDescribed, own_signature
from headrace_common.paths import leaves_its_folder, why_unsafe
from headrace_common.protobuf import NotProtobuf

MAX_BYTES = 64 << 30
MAX_FILES = MOST_OF_A_VERSION - OTHER_FILES
# A file of a version lies deeper than it does here, and a name may get a suffix while it is written.
_MAX_NAME_BYTES = 250
_MAX_PATH_BYTES = 700
_SAVED_MODEL = "saved_model.pb"
_DECODER = "genai_config.json"
_EXPORTED = "model.onnx"
_COPY = "`cp -rL` makes a copy of the model without links"


@dataclass(frozen=True)
class Given:
    """A model in `folder`: `files` are those that belong to it, with their sums; `left_out` lies beside them. `file` is
    the one with the graph, where the format has it under any name: ONNX.
    """

    format: ModelFormat
    folder: Path
    files: tuple[File, ...]
    left_out: tuple[str, ...] = ()
    file: str = ""

    @property
    def manifest(self) -> bytes:
        """What the files are, as the program in the pod looks for it beside them."""
        return manifest.encode(self.files, {"format": self.format.value})

    @property
    def digest(self) -> str:
        """Of the manifest: the same bytes under the same names have the same one."""
        return manifest.digest_of(self.manifest)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


def what_it_says(given: Given) -> str:
    """What the model takes and answers, by its own file, in a line for who adds it."""
    file = given.folder / (given.file or _SAVED_MODEL)
    try:
        return own_signature(given.format, file).as_text()
    except NotDescribed as error:
        return f"its inputs and outputs are not described, and its versions not compared: {error}"
    except OSError as error:
        raise CannotAdd(f"{file} cannot be read any more: {error.strerror}: add the model again") from error


def look(path: Path, max_bytes: int = MAX_BYTES) -> Given:
    """The model at `path`: an ONNX file, a folder with one, the folder of a SavedModel, or of a decoder with its
    tokenizer. Raises CannotAdd.
    """
    try:
        if (path / _SAVED_MODEL).is_file():
            return _saved_model(path, max_bytes)
        return _decoder(path, max_bytes) if (path / _DECODER).is_file() else _onnx(path, max_bytes)
    except OSError as error:
        raise CannotAdd(f"{error.filename or path} cannot be read: {error.strerror}") from error


def _onnx(path: Path, max_bytes: int) -> Given:
    file = _only_onnx(path) if path.is_dir() else path
    if not os.path.lexists(file):
        raise CannotAdd(
            f"there is no {file}: name an ONNX file, a folder with one, or the folder of a SavedModel or a decoder"
        )
    _must_be_file(file, file.parent if path.is_dir() else None)
    for name in _weights_there(file):
        _must_be_file(file.parent / name, file.parent)
    _must_be_usable(ModelFormat.ONNX, file)
    weights = files_of_weights(file)
    if _EXPORTED in weights and file.name != _EXPORTED:
        raise CannotAdd(f"{file}: its weights are in {_EXPORTED}, as the model itself is called in a version")
    names = {file.name, *weights}
    beside = {each.name for each in file.parent.iterdir()} if path.is_dir() else set()
    left_out = sorted(beside - {name.partition("/")[0] for name in names})
    return Given(
        ModelFormat.ONNX,
        file.parent,
        _files(ModelFormat.ONNX, file.parent, names, max_bytes),
        tuple(left_out),
        file.name,
    )


def _only_onnx(folder: Path) -> Path:
    found = sorted(each.name for each in folder.iterdir() if each.suffix == ".onnx" and not each.is_dir())
    if not found:
        hint = what_to_do(each.name for each in folder.iterdir())
        raise CannotAdd(
            f"{folder} has neither an ONNX file (*.onnx) nor {_SAVED_MODEL} or {_DECODER}: "
            + (hint or "other formats are converted first, such as with skl2onnx, tf2onnx or torch.onnx")
        )
    if len(found) > 1:
        raise CannotAdd(f"{folder} has several ONNX files ({', '.join(found)}): name the one that is meant")
    return folder / found[0]


def _saved_model(folder: Path, max_bytes: int) -> Given:
    file = folder / _SAVED_MODEL
    _must_be_usable(ModelFormat.TENSORFLOW, file)
    if SERVED not in (names := signatures(file)):
        has = f"only {', '.join(names)}" if names else "none"
        raise CannotAdd(
            f"{file} has no signature {SERVED} (it has {has}), by which servers ask it: save it with "
            "model.export(FOLDER), or tf.saved_model.save(module, FOLDER, signatures=...)"
        )
    files = _files(ModelFormat.TENSORFLOW, folder, set(_all_below(folder)), max_bytes)
    return Given(ModelFormat.TENSORFLOW, folder, files)


def _decoder(folder: Path, max_bytes: int) -> Given:
    """All of the folder: what beside graph, weights and tokenizer belongs to it only its maker knows."""
    names = set(_all_below(folder))
    _must_be_usable(ModelFormat.TEXT, folder / _DECODER)
    return Given(ModelFormat.TEXT, folder, _files(ModelFormat.TEXT, folder, names, max_bytes))


def _all_below(folder: Path) -> Iterator[str]:
    """Every file's path, with slashes. Nothing is passed over: what is no file is refused."""
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise CannotAdd(f"{Path(place) / name} is a link to a folder: {_COPY}")
        for name in names:
            file = Path(place) / name
            _must_be_file(file, folder)
            yield file.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _weights_there(file: Path) -> tuple[str, ...]:
    """Those of which anything lies there, a broken link too. Of a file that has a fault there are none."""
    try:
        found = files_of_weights(file)
    except NotProtobuf:
        return ()
    return tuple(name for name in found if not leaves_its_folder(name) and os.path.lexists(file.parent / name))


def _must_be_file(file: Path, folder: Path | None) -> None:
    """A regular file, or a link to one in `folder`: who names a folder names nothing outside of it."""
    if not file.exists():
        raise CannotAdd(f"{file} is a link to nothing: {_COPY}")
    if not file.is_file():
        raise CannotAdd(f"{file} is no regular file: take it away, or name another folder")
    if folder is not None and not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder)):
        raise CannotAdd(f"{file} is, or lies behind, a link that leads out of {folder}: {_COPY}")


def _must_be_usable(format: ModelFormat, file: Path) -> None:
    if (why := why_unusable(format, file, str(file))) is not None:
        told = why if why.startswith(str(file)) else f"{file}: {why}"
        raise CannotAdd(joined(told, what_to_do([file.name])))


def _files(format: ModelFormat, folder: Path, names: set[str], max_bytes: int) -> tuple[File, ...]:
    """The files with their sums, sorted: what can be no object, and what is too much, is told before they are read."""
    if bad := next(_bad(names), None):
        raise CannotAdd(f"{folder}: the file {bad}: call it otherwise")
    size = sum((folder / name).stat().st_size for name in names)
    if len(names) > MAX_FILES:
        raise CannotAdd(f"{folder} has {len(names)} files, and at most {MAX_FILES} are added")
    if size > max_bytes:
        raise CannotAdd(f"{folder}: the model has {size} bytes, and at most {max_bytes} are added")
    if (listed := _manifest_bytes(format, names, size)) > MAX_MANIFEST:
        raise CannotAdd(
            f"{folder}: the list of its {len(names)} files would have {listed} bytes, and who loads a model reads at "
            f"most {MAX_MANIFEST}: have fewer files, or shorter names"
        )
    return tuple(
        File(name, manifest.sha256_of(folder / name), (folder / name).stat().st_size) for name in sorted(names)
    )


def _manifest_bytes(format: ModelFormat, names: set[str], size: int) -> int:
    """How long the manifest of the version will be at most: a sum has always as many digits, a size no more than all
    sizes together.
    """
    files = tuple(File(f"{FOLDERS[format]}/{name}", "0" * 64, size) for name in names)
    return len(manifest.encode(files, {"formats": {format.value: FOLDERS[format]}})) + OTHER_BYTES


def _bad(names: set[str]) -> Iterator[str]:
    for name in sorted(names):
        if (why := why_unsafe(name)) is not None:
            yield f"{name!r} {why}"
        elif name == manifest.NAME:
            yield f"{name} has a name of Headrace's"
        elif (
            len(name.encode()) > _MAX_PATH_BYTES
            or max(len(part.encode()) for part in name.split("/")) > _MAX_NAME_BYTES
        ):
            yield (
                f"{name!r} is too long: at most {_MAX_NAME_BYTES} bytes for each name, and {_MAX_PATH_BYTES} for "
                "all of its path"
            )

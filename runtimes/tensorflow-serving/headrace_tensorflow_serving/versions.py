"""Finds the version to serve: the numeric folder with the highest number below the base path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headrace_serving.failures import Reason, StartError

HIGHEST = 2**63 - 1

_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_HINT = "The loader puts it there: check its log, and that both containers mount the same volume."


@dataclass(frozen=True)
class Version:
    number: int
    path: Path


def latest(base_path: Path) -> Version:
    """The version to serve. Raises StartError(ModelNotFound)."""
    try:
        folders = [child for child in base_path.iterdir() if child.is_dir()]
    except OSError as error:
        raise StartError(Reason.MODEL_NOT_FOUND, f"{base_path} cannot be read: {error.strerror}.", _HINT) from error
    versions = [Version(number, folder) for folder in folders if (number := _number(folder.name)) is not None]
    if not versions:
        raise StartError(
            Reason.MODEL_NOT_FOUND,
            f"There is no version of a model below {base_path}: no folder whose name is a number.",
            _HINT,
        )
    version = max(versions, key=lambda version: (version.number, version.path.name))
    if not any((version.path / name).is_file() for name in _MODEL_FILES):
        raise StartError(Reason.MODEL_NOT_FOUND, f"There is no {_MODEL_FILES[0]} in {version.path}.", _HINT)
    return version


def _number(name: str) -> int | None:
    if not (name.isascii() and name.isdecimal()):
        return None
    number = int(name)
    return number if number <= HIGHEST else None

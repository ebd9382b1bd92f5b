"""A packed object becomes a file, or a folder of files, where the script looks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import address_of, cannot_be_written
from headrace_trainer.launcher.datasets.unpack.bounds import Bounds, TooLarge
from headrace_trainer.launcher.datasets.unpack.forms import Form, Packed, not_unpacked
from headrace_trainer.launcher.datasets.unpack.members import Member, Unreadable, members_of
from headrace_trainer.launcher.failures.judge import Failed, Failure

_IF_BROKEN = (
    "Look at the file with the program that has packed it. Where unpack names another format than it has, correct that "
    "in a new TrainingJob; else pack and upload it anew, with files alone in it, or unpack it before the upload."
)
_IF_TOO_LARGE = "Unpack it before the upload, or leave unpack out and let the script read it as it is."


def unpack(dataset: Dataset, packed: Packed, form: Form, stored: Path, target: Path, bounds: Bounds) -> None:
    """What is in the file `stored`, to `target`, whose folder is there. Raises Failed (DatasetNotUnpacked,
    DatasetTooLarge, StorageUnavailable).
    """
    address = address_of(dataset) if not packed.one.path else packed.one.uri
    try:
        with closing(members_of(stored, form, bounds.has_read)) as members:
            _write(members, target, bounds)
    except Unreadable as error:
        raise Failed(not_unpacked(dataset, f"{address} cannot be unpacked as {form}: {error}", _IF_BROKEN)) from error
    except TooLarge as error:
        message = f"dataset {dataset.name}: {address}, unpacked, is too large: {error}"
        raise Failed(Failure(Reason.DATASET_TOO_LARGE, message, _IF_TOO_LARGE)) from error
    except OSError as error:
        raise Failed(cannot_be_written(dataset, target, error)) from error


def _write(members: Iterator[Member], target: Path, bounds: Bounds) -> None:
    had_one = False
    for member in members:
        had_one = True
        bounds.take_file()
        path = target / member.path if member.path else target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What is there already is another one's, and no link is followed: whatever it is, it is not opened.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except (FileExistsError, NotADirectoryError):
            raise Unreadable(f"{member.path!r} is in it twice, or as a file and as a folder") from None
        with open(descriptor, "wb") as file:
            for piece in member.pieces:
                bounds.take(len(piece))
                file.write(piece)
    if not had_one:
        raise Unreadable("there is no file in it")

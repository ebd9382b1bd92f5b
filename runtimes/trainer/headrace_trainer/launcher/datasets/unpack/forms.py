"""What each object of a dataset is packed as, and where what is in it goes (pure).

By the end of its name, or, where the spec has a format, as that whatever the name is. A file loses the end that said
so; an archive becomes a folder of its own, so that two of them do not write over one another.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace_common.paths import collision
from headrace_common.protocol.config import Dataset, Unpack
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import Object, address_of
from headrace_trainer.launcher.failures.judge import Failed, Failure


class Form(StrEnum):
    """As a user knows it."""

    GZIP = "gzip"
    ZSTD = "zstd"
    TAR = "tar"
    ZIP = "zip"


@dataclass(frozen=True)
class Packed:
    """An object, what it is packed as (None: left as it is), and where that goes below the dataset's path."""

    one: Object
    form: Form | None
    path: str


# The first end that a name has counts.
_ENDS: Mapping[str, Form] = {
    ".tar.gz": Form.TAR,
    ".tar.zst": Form.TAR,
    ".tgz": Form.TAR,
    ".tar": Form.TAR,
    ".zip": Form.ZIP,
    ".gz": Form.GZIP,
    ".zst": Form.ZSTD,
}
_FORMS: Mapping[Unpack, Form] = {
    Unpack.GZIP: Form.GZIP,
    Unpack.ZSTD: Form.ZSTD,
    Unpack.TAR: Form.TAR,
    Unpack.ZIP: Form.ZIP,
}


def forms_of(dataset: Dataset, objects: Sequence[Object]) -> Sequence[Packed]:
    """In the objects' order. Raises Failed (DatasetNotUnpacked) where two would become one file."""
    if dataset.unpack is None:
        return tuple(Packed(one, None, one.path) for one in objects)
    found = tuple(_packed(dataset, dataset.unpack, one) for one in objects)
    if (twice := collision([posixpath.normpath(one.path) for one in found])) is not None:
        raise Failed(
            not_unpacked(
                dataset,
                f"{twice} would come of two objects",
                "Rename one of the two, or leave unpack out and let the script read them as they are.",
            )
        )
    return found


def not_unpacked(dataset: Dataset, why: str, hint: str) -> Failure:
    """Of what cannot be unpacked."""
    return Failure(Reason.DATASET_NOT_UNPACKED, f"dataset {dataset.name}: {why}", hint)


def _packed(dataset: Dataset, unpack: Unpack, one: Object) -> Packed:
    name = one.path or address_of(dataset)
    end = next((end for end in _ENDS if name.lower().endswith(end)), "")
    form = _FORMS.get(unpack, _ENDS.get(end))
    path = one.path
    if form is not None and _ENDS.get(end) is form and len(posixpath.basename(path)) > len(end):
        path = path[: -len(end)]
    return Packed(one, form, path)

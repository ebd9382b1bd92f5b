"""Whether this job has written a file: what was there before (a dataset, the image, a baseline) is not its work.

A file counts as the job's if its bytes came to where they are after the job's first attempt had begun. A .keras file
says itself when it was made, whoever has brought it since. What lies in a cache of downloads was made elsewhere.
"""

from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

_DESCRIPTION = "metadata.json"
_MADE = "date_saved"
_TIME = "%Y-%m-%d@%H:%M:%S"  # Keras', in local time


def was_written_since(path: str | os.PathLike[str], began: float) -> bool:
    """`began` is in seconds since 1970. False where there is no such file, which may be the name of one elsewhere."""
    try:
        # The time of its modification may be one that was copied with it.
        changed = os.stat(path).st_ctime
    except (OSError, ValueError):
        return False
    if changed < began or _is_downloaded(Path(path)):
        return False
    made = _made_at(Path(path))
    return made is None or made >= int(began)


def _is_downloaded(path: Path) -> bool:
    caches = [Path.home() / ".cache", Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")]
    return any(path.resolve().is_relative_to(cache.resolve()) for cache in caches)


def _made_at(path: Path) -> float | None:
    """When Keras has made the file, by its own words."""
    try:
        with zipfile.ZipFile(path) as file:
            described: Any = json.loads(file.read(_DESCRIPTION))
        return datetime.strptime(described[_MADE], _TIME).timestamp()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, zipfile.BadZipFile):
        return None

"""Whether there is room on a volume, asked before anything is fetched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from headrace_loader.failures import LoadError, Reason

# The kubelet evicts pods of a node that has less than this free (nodefs.available<10%, its default).
RESERVE = 0.1

_HINT = (
    "Make room: raise resources.limits.ephemeral-storage or the volume's sizeLimit, or use a node with a larger disk;"
    " the model's files have to fit beside what lies there."
)


def check(folder: Path, needed: int) -> None:
    """Raises LoadError(DiskFull) where fewer than `needed` bytes are free in `folder` beside the reserve."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    reserve = int(found.f_blocks * found.f_frsize * RESERVE)
    if needed > free - reserve:
        raise LoadError(
            Reason.DISK_FULL,
            f"The model needs {needed} more bytes in {folder}; {free} are free there, of which {reserve} stay free, "
            f"{RESERVE:.0%} of the file system.",
            _HINT,
        )


def failure_of(error: OSError, target: Path) -> LoadError:
    """What it means that the model could not be written."""
    message = f"Writing the model to {target} failed: {error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LoadError(Reason.DISK_FULL, message, _HINT)
    return LoadError(Reason.DISK_UNWRITABLE, message, "Make the model's volume writable for the pod's user.")

"""Removing an instance's folders: at once, or, for hundreds of thousands of files, out of sight at once."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

from headrace_local.errors import LocalClusterError

_TRASH = ".removed-"


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; never through a mount, behind which other people's files may lie."""
    _refuse_mounts(folder)
    if folder.exists():
        shutil.rmtree(folder)


def remove_in_background(folder: Path) -> None:
    """The same, but only its name is gone on return: a process that outlives this one removes the files.

    What an earlier one left, because the machine was switched off, goes with it.
    """
    _refuse_mounts(folder)
    if folder.exists():
        folder.rename(folder.with_name(f"{_TRASH}{uuid.uuid4().hex}"))
    if trash := sorted(folder.parent.glob(f"{_TRASH}*")):
        subprocess.Popen(
            ["nice", "rm", "-rf", "--", *map(str, trash)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )


def _refuse_mounts(folder: Path) -> None:
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if below := [point for point in mounted if Path(point).is_relative_to(folder)]:
        raise LocalClusterError(f"{below[0]} is mounted below {folder}: `umount {below[0]}`, then try again")

"""The base of all Python images where no registry can be reached: Debian with Python, made from packages, kept as a
tar in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from headrace_local import locks, paths
from headrace_local.errors import LocalClusterError
from headrace_local.progress import Report

SUITE = "bookworm"
# libgomp1 is what the trainer image installs where it is not there; a build here needs no network for it.
PACKAGES = ("python3", "python3-venv", "ca-certificates", "libgomp1")
MIRROR_VARIABLE = "HEADRACE_DEBIAN_MIRROR"

_REMOVED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/lib/apt/lists",
    "var/cache/apt",
)
# The official Python images have their interpreter there, and call it `python` too.
_LINKS = ("usr/local/bin/python3", "usr/local/bin/python")
_TIMEOUT = 900.0
_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 2 * 1024**3


def ensure(report: Report) -> Path:
    """The folder that holds base.tar, made now if it is not there."""
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    recipe = json.dumps([SUITE, PACKAGES, _REMOVED, _LINKS, mirror])
    folder = paths.cache() / "base" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if not folder.is_dir():
        with locks.exclusive(folder.parent / ".lock", what="making the base image", timeout=_TIMEOUT, report=report):
            if not folder.is_dir():
                _make(folder, mirror, report)
    return folder


def _make(folder: Path, mirror: str, report: Report) -> None:
    report(f"making the base image: Debian {SUITE} with {', '.join(PACKAGES)} (once a machine)")
    memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if memory else None) as work,
        tempfile.TemporaryDirectory(prefix=".base-", dir=folder.parent) as unfinished,
    ):
        target = Path(unfinished) / "base"
        target.mkdir()
        hooks = [f"rm -rf {' '.join(f'$1/{path}' for path in _REMOVED)}"]
        hooks += [f'test -e "$1/{link}" || ln -s /usr/bin/python3 "$1/{link}"' for link in _LINKS]
        command = [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=apt",
            "--format=tar",
            f"--include={','.join(PACKAGES)}",
        ]
        command += [f"--customize-hook={hook}" for hook in hooks]
        command += [SUITE, str(target / "base.tar"), *([mirror] if mirror else [])]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, env={**os.environ, "TMPDIR": work}
        )
        if done.returncode != 0:
            raise LocalClusterError(
                f"the base image could not be made from Debian's packages ({MIRROR_VARIABLE} names another mirror):\n"
                + done.stderr.strip()[-2000:]
            )
        target.rename(folder)

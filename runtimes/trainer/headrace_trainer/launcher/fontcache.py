"""Matplotlib's list of fonts, which an image has ready (HEADRACE_FONT_CACHE names the folder), where the script's own
Matplotlib looks for it. Keras imports Matplotlib, so that without this each pod made the list anew, which takes seconds
of a small pod's CPU. Matplotlib takes no folder that it cannot write into, and so not the image's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from headrace_trainer.launcher.log import log

VARIABLE = "HEADRACE_FONT_CACHE"


def lay_out(env: Mapping[str, str]) -> None:
    """`env` is the script's. What is there already stays; one that cannot be put there costs only its time."""
    made, home = env.get(VARIABLE), env.get("XDG_CACHE_HOME") or os.path.join(env.get("HOME", ""), ".cache")
    if not made or "MPLCONFIGDIR" in env or not os.path.isabs(home):
        return
    folder = Path(home) / "matplotlib"
    try:
        files = [file for file in Path(made).glob("fontlist-*.json") if not (folder / file.name).exists()]
        if files:
            folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        log(f"the list of fonts cannot be put into {folder}: {error}")

"""Files that are kept with the run."""

from __future__ import annotations

import os
from pathlib import Path


def outputs() -> Path:
    """The folder whose files become artifacts of the run when the script ends, well or not; in a job of any framework.
    Outside of a pod: the folder `outputs` of the working directory, which is made.
    """
    folder = Path(os.environ.get("HEADRACE_OUTPUTS_DIR") or "outputs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder

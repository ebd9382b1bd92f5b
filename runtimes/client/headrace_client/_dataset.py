"""What a stage of preparation makes."""

from __future__ import annotations

import os
from pathlib import Path

from headrace_client._wire import in_job


def dataset_folder() -> Path:
    """The folder of a job's stage `prepare` whose files become the dataset when the script has ended well. Empty at
    first. Outside of a pod: the folder `prepared` of the working directory, which is made.

    Raises RuntimeError in the pod of another stage: what is left there would be lost.
    """
    name = os.environ.get("HEADRACE_DATASET_DIR")
    if not name and in_job():
        raise RuntimeError("this is no stage that prepares a dataset: there is no HEADRACE_DATASET_DIR")
    folder = Path(name or "prepared")
    folder.mkdir(parents=True, exist_ok=True)
    return folder

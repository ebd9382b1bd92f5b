"""What a stage of preparation makes."""

from __future__ import annotations

import os
from pathlib import Path

from headrace_client._wire import in_job


def dataset_folder() -> Path:
    """The folder of a job's stage `prepare` whose files become the dataset when the script has ended well. Empty at
    first. Outside of a pod: the folder `prepared` of the working directory, which is made.

    Raises RuntimeError in the pod of another stage, and in a preparation by Spark, whose dataset lies below an address:
    what is left in a folder would be lost.
    """
    name = os.environ.get("HEADRACE_DATASET_DIR")
    if not name and in_job():
        raise RuntimeError("this is no stage that prepares a dataset: there is no HEADRACE_DATASET_DIR")
    if name and "://" in name:
        raise RuntimeError(f"with Spark there is no folder: write below {name}, which HEADRACE_DATASET_DIR has")
    folder = Path(name or "prepared")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tables_folder() -> Path:
    """The folder with what came of `prepare.tables`, which was done before the script: train.parquet and so on, and
    report.json. Outside of a pod: the folder `tables` of the working directory.

    Raises RuntimeError in the pod of a stage without them.
    """
    name = os.environ.get("HEADRACE_TABLES_DIR")
    if not name and in_job():
        raise RuntimeError("nothing is declared in prepare.tables: there is no HEADRACE_TABLES_DIR")
    return Path(name or "tables")

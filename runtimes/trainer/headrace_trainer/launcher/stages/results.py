"""What a program of Headrace's own leaves in a folder: it is kept with the stage's run."""

from __future__ import annotations

from pathlib import Path

from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import SCHEME, Place
from headrace_trainer.launcher.failures.judge import Failed, Failure, bad_config
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking.run import Tracker


def keep_results(folder: Path, name: str, tracker: Tracker, store: Store, outage_seconds: float) -> Place:
    """The folder's files among the artifacts of the tracker's run, below `name`. Returns where. Raises Failed."""
    run = tracker.await_run(outage_seconds)
    if not run.artifact_uri.startswith(SCHEME):
        raise Failed(bad_config(f"the run's artifacts lie at {run.artifact_uri}, and are kept at s3://… only"))
    place = Place.parse(run.artifact_uri).below(name)
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink():
            store.upload(path, place.below(path.name), Patience(outage_seconds))
    return place


def left_nothing(reason: Reason, who: str, what: str) -> Failure:
    """`who` has ended well, and `what` it should have left is not there."""
    return Failure(
        reason,
        f"the {who} ended well, and has left no {what}",
        "This is a fault of Headrace, or of an image that has another headrace_trainer: please report it.",
    )

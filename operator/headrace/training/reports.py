"""What a launcher reports while its attempt is under way: as reasons of the status, and in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.training.states import Reason
from headrace_common.protocol.report import Condition, State

PREPARE_REASONS: Mapping[str, str] = {
    State.PREPARING: Reason.PREPARING,
    State.INSTALLING: Reason.INSTALLING_PACKAGES,
    State.RESUMING: Reason.RESUMING,
    State.EXPORTING: Reason.EXPORTING,
    State.UPLOADING: Reason.UPLOADING,
}
# What the launcher says of its surroundings: the training continues, but whoever looks has to know.
OUTAGES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("tracking", Condition.RUN_DELETED): (
        Reason.RUN_DELETED,
        "the MLflow run was deleted, by itself or with its experiment; the training continues, and metrics are "
        "buffered in the pod; restore the run in MLflow (runs page, filter by state Deleted; or `mlflow runs restore "
        "--run-id` with the id in status.run.id)",
    ),
    ("tracking", Condition.BUFFERING): (
        Reason.TRACKING_UNAVAILABLE,
        "MLflow does not answer; the training continues, and metrics are buffered in the pod until it does; check that "
        "the MLflow server is running and can be reached from this namespace",
    ),
    ("storage", Condition.BUFFERING): (
        Reason.STORAGE_UNAVAILABLE,
        "S3 does not answer; downloads of datasets wait for it, checkpoints and the model are kept in the pod until it "
        "does; check that the S3 store is running, and the chart's s3.endpoint",
    ),
}
# What goes on while nothing is wrong.
GOES_ON: Mapping[str, str] = {
    Reason.PREPARING: "the pod starts: it downloads datasets, looks for a checkpoint to resume from, and the script "
    "imports its libraries",
    Reason.INSTALLING_PACKAGES: "the launcher is installing the packages that requirements.txt names and the image "
    "lacks; the pod's log says how far it is",
    Reason.RESUMING: "the data that was trained on is gone through again, for at most spec.checkpoint.maxReplay; "
    "status.progress says how far that is (spec.checkpoint.resume: Fast does without)",
    Reason.TRAINING: "the training is running; status.progress and status.metrics say how far it is",
    Reason.EXPORTING: "the training has ended; the model is being exported in the formats of spec.output.formats",
    Reason.UPLOADING: "the script has ended; the model, if it leaves one, and its outputs are being uploaded to S3",
}
# Told by the launcher itself: they hold until it tells something else.
TOLD_REASONS = frozenset({Reason.TRAINING, *PREPARE_REASONS.values(), *(reason for reason, _ in OUTAGES.values())})

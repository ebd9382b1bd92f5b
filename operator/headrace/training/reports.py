"""What a launcher reports while its attempt is under way: as reasons of the status, and in words for people.

In the texts words in capitals are the stage's.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.api.trainingjob import Stage
from headrace.training.stages import Part
from headrace.training.states import Reason
from headrace_common.protocol.report import Condition, Live, State

STATE_REASONS: Mapping[str, str] = {
    State.PREPARING: Reason.PREPARING,
    State.INSTALLING: Reason.INSTALLING_PACKAGES,
    State.RESUMING: Reason.RESUMING,
    State.EXPORTING: Reason.EXPORTING,
    State.UPLOADING: Reason.UPLOADING,
}
_WORDS: Mapping[Stage, Mapping[str, str]] = {
    Stage.PREPARE: {"RESULT": "dataset", "RUN": "status.stages[0].run.id"},
    Stage.TRAIN: {"RESULT": "model", "RUN": "status.run.id"},
    Stage.TUNE: {"RESULT": "results", "RUN": "status.run.id"},
    Stage.EVALUATE: {"RESULT": "report", "RUN": "run.id of Evaluate in status.stages"},
}
# While the script runs, or the stage's own program.
_RUNNING: Mapping[Stage, str] = {
    Stage.PREPARE: Reason.PREPARING_DATA,
    Stage.TRAIN: Reason.TRAINING,
    Stage.TUNE: Reason.TUNING,
    Stage.EVALUATE: Reason.EVALUATING,
}
# What the launcher says of its surroundings: the script continues, but whoever looks has to know.
_OUTAGES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("tracking", Condition.RUN_DELETED): (
        Reason.RUN_DELETED,
        "the MLflow run was deleted, by itself or with its experiment; the WORK continues, and metrics are "
        "buffered in the pod; restore the run in MLflow (runs page, filter by state Deleted; or `mlflow runs restore "
        "--run-id` with the id in RUN)",
    ),
    ("tracking", Condition.BUFFERING): (
        Reason.TRACKING_UNAVAILABLE,
        "MLflow does not answer; the WORK continues, and metrics are buffered in the pod until it does; check that "
        "the MLflow server is running and can be reached from this namespace",
    ),
    ("storage", Condition.BUFFERING): (
        Reason.STORAGE_UNAVAILABLE,
        "S3 does not answer; downloads of datasets wait for it, checkpoints and the RESULT are kept in the pod until "
        "it does; check that the S3 store is running, and the chart's s3.endpoint",
    ),
}
# What goes on while nothing is wrong.
_GOES_ON: Mapping[str, str] = {
    Reason.PREPARING: "the pod starts: it downloads datasets, looks for a checkpoint to resume from, and the script "
    "imports its libraries",
    Reason.INSTALLING_PACKAGES: "the launcher is installing the packages that requirements.txt names and the image "
    "lacks; the pod's log says how far it is",
    Reason.RESUMING: "the data that was trained on is gone through again, for at most spec.checkpoint.maxReplay; "
    "status.progress says how far that is (spec.checkpoint.resume: Fast does without)",
    Reason.TRAINING: "the training is running; status.progress and status.metrics say how far it is",
    Reason.PREPARING_DATA: "the script is running that makes the dataset; its log says how far it is, as does "
    "status.progress where the script tells it",
    Reason.TUNING: "trials are running, each a TrainingJob of its own: kubectl -n NAMESPACE get tj -l "
    "headrace.dev/trial-of=TRAININGJOB; status.tuning says what they have come to",
    Reason.EVALUATING: "the model is being judged on the data of spec.evaluate; status.progress and the pod's log say "
    "how far that is",
    Reason.EXPORTING: "the training has ended; the model is being exported in the formats of spec.output.formats",
    Reason.UPLOADING: "the script has ended; the model, if it leaves one, and its outputs are being uploaded to S3",
}
# Where a stage has another text for it.
_GOES_ON_IN: Mapping[tuple[Stage, str], str] = {
    (Stage.PREPARE, Reason.RESUMING): "the script is coming to where its last checkpoint was made",
    (Stage.PREPARE, Reason.EXPORTING): "the script has ended; what it made is being written",
    (Stage.PREPARE, Reason.UPLOADING): "the script has ended; the files that it left are being uploaded to S3",
    (Stage.TUNE, Reason.PREPARING): "the pod starts that chooses the parameters of trials",
    (Stage.TUNE, Reason.RESUMING): "the pod starts that chooses the parameters of trials",
    (Stage.TUNE, Reason.EXPORTING): "the trials have ended; what they came to is being written",
    (Stage.TUNE, Reason.UPLOADING): "the trials have ended; what they came to is being uploaded to S3",
    (Stage.EVALUATE, Reason.PREPARING): "the pod starts: it downloads the model, the baseline where there is one, and "
    "the data",
    (Stage.EVALUATE, Reason.RESUMING): "the data is gone through again",
    (Stage.EVALUATE, Reason.EXPORTING): "the model was judged; what was found is being written",
    (Stage.EVALUATE, Reason.UPLOADING): "the model was judged; the report is being uploaded to S3",
}
# Before the pod of the tuning has noticed.
TRIALS_OVER = "all trials have ended; the pod of the tuning writes next what they came to"
# Of a preparation without a script. An evaluation's texts speak of none.
_TABLES_ALONE: Mapping[str, str] = {
    Reason.PREPARING: "the pod starts: it downloads the tables",
    Reason.RESUMING: "what is declared in prepare.tables is being done again",
    Reason.PREPARING_DATA: "what is declared in prepare.tables is being done; the pod's log says how far it is",
    Reason.EXPORTING: "what is declared in prepare.tables is done; what came of it is being written",
    Reason.UPLOADING: "what is declared in prepare.tables is done; what came of it is being uploaded to S3",
}
# Told by the launcher itself: they hold until it tells something else.
TOLD_REASONS = frozenset({*_RUNNING.values(), *STATE_REASONS.values(), *(reason for reason, _ in _OUTAGES.values())})


def reason_of(part: Part, live: Live) -> str:
    """What the launcher is at, as a reason."""
    return STATE_REASONS.get(live.state, _RUNNING[part.stage])


def goes_on(part: Part, reason: str) -> str:
    """What goes on, in words; empty where nothing is known of the reason."""
    is_tables_alone = part.stage is Stage.PREPARE and not part.entrypoint
    alone = _TABLES_ALONE.get(reason, "") if is_tables_alone else ""
    text = alone or _GOES_ON_IN.get((part.stage, reason)) or _GOES_ON.get(reason, "")
    return _of_stage(part, text)


def outages_of(part: Part, live: Live) -> list[tuple[str, str]]:
    """What does not answer, the worst first: reason and words of each."""
    found = [outage for (name, value), outage in _OUTAGES.items() if live.conditions.get(name) == value]
    return [(reason, _of_stage(part, text)) for reason, text in found]


def _of_stage(part: Part, text: str) -> str:
    for word, said in _WORDS[part.stage].items():
        text = text.replace(word, said)
    names = {"WORK": part.work, "NAMESPACE": part.job.metadata.namespace, "TRAININGJOB": part.job.metadata.name}
    for word, said in names.items():
        text = text.replace(word, said)
    return text

"""The names that Headrace uses in MLflow, where more than one program has to spell them alike."""

from __future__ import annotations

# Of a run: which TrainingJob it belongs to, and which of its attempts writes it. The launcher's.
UID_TAG = "headrace.uid"
NAMESPACE_TAG = "headrace.namespace"
NAME_TAG = "headrace.name"
ATTEMPT_TAG = "headrace.attempt"
# Of a run, and of the version that is made of it: the digest of the model's manifest.
DIGEST_TAG = "headrace.digest"
# Of the same two: inputs and outputs (headrace_common.signature), or `unknown`; a version without it is not compared.
SIGNATURE_TAG = "headrace.signature"
# Of a run: which of the script's models was exported, why that one, and what was measured on it (JSON). Gates are
# judged by these values where the run's last value may be another model's; null: measured on others only. Of the run
# of an evaluation by a program of the user's: what the attempt that ended well has measured.
MODEL_TAG = "headrace.model"
MODEL_REASON_TAG = "headrace.model.reason"
MODEL_METRICS_TAG = "headrace.model.metrics"
REST = "*"  # a name in it, null: of names that are not in it nothing is told, nor to be taken from the run
# Of a run: what came of a format, by its name, and of an early trial of the export.
EXPORT_TAG_PREFIX = "headrace.export."
EXPORT_TRIAL_TAG = f"{EXPORT_TAG_PREFIX}trial"
# Of a run that is a stage's, a child of the job's: which stage; of a preparation's the dataset that it made, or that
# another job (NAMESPACE/NAME) had made. The launcher's.
STAGE_TAG = "headrace.stage"
DATASET_TAG = "headrace.dataset"
DATASET_DIGEST_TAG = "headrace.dataset.digest"
DATASET_MADE_BY_TAG = "headrace.dataset.madeBy"
# Of the run of a stage of evaluation: the digest of the model that was judged, as it was downloaded; that of the model
# it was compared with, and which version that was. The launcher's.
EVALUATED_DIGEST_TAG = "headrace.evaluated.digest"
BASELINE_DIGEST_TAG = "headrace.baseline.digest"
BASELINE_VERSION_TAG = "headrace.baseline.version"
# Of the same run: the class that precision, recall and f1 are of, as LABEL=CLASS. Absent: they are means over classes.
EVALUATED_CLASS_TAG = "headrace.evaluated.class"
# MLflow's own, of a run: its description, Markdown. Of an evaluation's the model's card, which the version gets, too.
DESCRIPTION_TAG = "mlflow.note.content"
# MLflow's own, of a run below another one.
PARENT_TAG = "mlflow.parentRunId"
# Of a run of a trial: its number, from 0; of its job's run: the number of the best one. The launcher's.
TRIAL_TAG = "headrace.trial"
BEST_TRIAL_TAG = "headrace.trial.best"
# Of a run of a trial: why its model is no longer there. The launcher's.
MODEL_REMOVED_TAG = "headrace.model.removed"
# Of a run: how the job ended. The operator's.
OUTCOME_TAG = "headrace.outcome"

# MLflow's prefix for metrics of what a container used: nothing to judge a model by.
SYSTEM_METRICS = "system/"


def uid_of_stage(uid: str, stage: str) -> str:
    """UID_TAG of the run of a job's stage, by the job's uid and the protocol's name of the stage."""
    return f"{uid}/{stage}"

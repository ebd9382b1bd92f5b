"""What to do about a reason, in words for the owner of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping

from headrace import sandbox
from headrace.api.trainingjob import TrainingJob
from headrace.storage_secret import hint_if_missing
from headrace.tenancy.objects import STORAGE_SECRET
from headrace.training.stages import part_of
from headrace.training.states import Reason

_RESUMES = "the next attempt resumes from the last checkpoint and does not count against maxRestarts"
_BEGINS_ANEW = "the next attempt begins anew and does not count against maxRestarts"

# What to do. A word in capitals is a name; `addressed` puts in those that are known.
_OF_TRIALS = "kubectl -n NAMESPACE describe tj -l headrace.dev/trial-of=TRAININGJOB says what each trial failed of"
HINTS: Mapping[str, str] = {
    Reason.EVICTED: f"{_RESUMES}; kubectl describe node shows whether the node was drained, shut down or short of "
    "memory or disk",
    Reason.PREEMPTED: f"{_RESUMES}; a higher priorityClassName in podTemplate protects it from preemption",
    Reason.NODE_LOST: f"{_RESUMES}; kubectl get nodes shows whether the node is Ready again",
    Reason.POD_DELETED: f"{_RESUMES}; a user or a controller deleted the pod: kubectl -n NAMESPACE get events, or the "
    "audit log, shows which; to stop a training, set spec.suspend to true",
    Reason.JOB_DELETED: f"{_RESUMES}; to stop a training, set spec.suspend to true, or delete the TrainingJob",
    Reason.POD_REFUSED: f"{_RESUMES}; kubectl describe node shows what the node has and what is in use",
    Reason.OUT_OF_MEMORY: "raise RESOURCES.limits.memory, or reduce the batch size or the model",
    Reason.PROCESS_KILLED: "something outside of Kubernetes killed it: look at the kernel's log of the node, and "
    "at who may exec into the pod",
    Reason.COMMAND_NOT_FOUND: "build the image FROM the trainer image, keep its ENTRYPOINT, and set no command in "
    "podTemplate",
    Reason.NO_RECORD: "kubectl -n NAMESPACE describe job -l headrace.dev/trainingjob=TRAININGJOB and kubectl -n "
    "NAMESPACE get events show what happened to the pods",
    Reason.SCRIPT_EXITED: "read the script's output: kubectl -n NAMESPACE logs POD -c trainer",
    Reason.IMAGE_PULL: "check the image's name and tag, and imagePullSecrets in podTemplate",
    Reason.INVALID_IMAGE_NAME: "correct the image in a new TrainingJob: [registry/]name[:tag]",
    Reason.UNSCHEDULABLE: "request less in spec.RESOURCES, or add a node that fits",
    Reason.STORAGE_LIMIT: "raise RESOURCES.limits.ephemeral-storage, or write less into the working directory",
    Reason.CONTAINER_CONFIG: "create the Secret or ConfigMap that the message names in namespace NAMESPACE (headrace "
    "tenant add NAMESPACE creates Headrace's own)",
    Reason.VOLUMES_NOT_READY: "kubectl -n NAMESPACE describe pod POD names the Secret, ConfigMap or claim that is "
    "missing: create it in this namespace, or correct podTemplate's volumes in a new TrainingJob",
    Reason.SANDBOX_NOT_CREATED: sandbox.HINT,
    Reason.CONTAINER_FAILED: "read the log of this container of podTemplate: kubectl -n NAMESPACE logs POD -c "
    "CONTAINER; one that only accompanies the training should be a native sidecar (an init container with "
    "restartPolicy Always), whose exit code does not count",
    Reason.NAME_IN_USE: "kubectl -n NAMESPACE get jobs,pods -l headrace.dev/trainingjob=TRAININGJOB shows it; if it "
    "does not go away by itself, delete it, or use another name for the TrainingJob",
    Reason.WAITING_FOR_QUOTA: "kubectl -n NAMESPACE describe workloads.kueue.x-k8s.io shows why it is pending",
    Reason.REFUSED: "the API server rejected an object that the spec asks for: correct the spec in a new TrainingJob, "
    "or raise the quota if one is exceeded",
    Reason.PODS_REFUSED: "the message is the Job controller's: create the service account (headrace-spark: run "
    "`headrace tenant add` again) or priority class that the spec names, raise the quota, or keep to the namespace's "
    "pod security level",
    Reason.DEADLINE_EXCEEDED: "raise activeDeadlineSeconds in a new TrainingJob; the last checkpoint is kept in S3",
    Reason.TENANT_NOT_FOUND: "run: headrace tenant add NAMESPACE",
    Reason.TRACKING_NOT_CONFIGURED: "install the chart with mlflow.enabled or mlflow.url, or leave spec.tracking out",
    Reason.TRACKING_UNAVAILABLE: "check that the MLflow server is running, and read its log",
    Reason.SOURCE_NOT_FOUND: "create it: kubectl -n NAMESPACE create configmap CONFIGMAP --from-file=SCRIPT",
    Reason.NO_DATASET: "let the script write its files below the folder that HEADRACE_DATASET_DIR names "
    "(headrace_client.dataset_folder()), and create a new TrainingJob",
    Reason.TRIALS_FAILED: f"{_OF_TRIALS}; narrow tuning.space to what the script can do, or raise "
    "tuning.maxFailedTrials, in a new TrainingJob",
    Reason.OBJECTIVE_NOT_REPORTED: "set tuning.objective.metric to a metric that the script logs, or log it "
    "(headrace_client.log, mlflow.log_metric), in a new TrainingJob",
    Reason.NO_TRIAL_SUCCEEDED: _OF_TRIALS,
    Reason.TUNING_ENDED_EARLY: "trials that run are not disturbed; if it happens again, the pod's log shows why: "
    "kubectl -n NAMESPACE logs POD",
    Reason.TUNING_NOT_ANSWERING: "trials that run are not disturbed; raise tuning.resources, and look whether the "
    "operator can reach the pod at port 9401 (NetworkPolicies); kubectl -n NAMESPACE logs POD may show more",
    Reason.NO_EVALUATION: "build the image FROM the trainer image of this release, and keep its ENTRYPOINT",
    Reason.EVALUATED_MODEL_CHANGED: "the model's files were changed after the training: find out who else writes to "
    "this bucket, then create a new TrainingJob",
    Reason.BASELINE_UNREADABLE: "point the alias of evaluate.baseline at a version that a TrainingJob has registered, "
    "and whose files are there, then create a new TrainingJob",
    Reason.ENTRYPOINT_NOT_FOUND: "set entrypoint to one of the files in the ConfigMap",
}


# The scheduler's words for a claim that is not there, or that is going: no node would do.
MISSING_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (?:not found|is being deleted)')


def hint_for(job: TrainingJob, reason: str, pod: str = "", message: str = "") -> str:
    """What the owner of this job can do about a reason; empty where nobody knows."""
    return addressed(job, exact_hint(job, reason, message) or HINTS.get(reason, ""), pod=pod)


def exact_hint(job: TrainingJob, reason: str, message: str) -> str:
    """What to do where the message names an object that the spec does; empty where it does not."""
    if reason == Reason.VOLUMES_NOT_READY and (found := MISSING_CLAIM.search(message)):
        return (
            f"create the PersistentVolumeClaim {found[1]} in namespace NAMESPACE, or name another one in a new "
            "TrainingJob: in persistentVolumeClaim.claimName of the dataset, or in podTemplate's volumes"
        )
    tables = part_of(job).tables
    key = None if tables is None or tables.privacy is None else tables.privacy.key_secret_ref
    if reason == Reason.CONTAINER_CONFIG and key is not None and _names_secret(message, key.name):
        return (
            "spec.prepare.tables.privacy.keySecretRef names it; create it: kubectl -n NAMESPACE create secret generic "
            f'{key.name} --from-literal={key.key}="$(openssl rand -hex 32)"; or name another one in a new TrainingJob'
        )
    if reason == Reason.CONTAINER_CONFIG and (storage := job.spec.storage) is not None:
        return hint_if_missing(
            message,
            storage.secret_ref.name,
            own=STORAGE_SECRET,
            namespace=job.metadata.namespace,
            correct="create a new TrainingJob that names",
        )
    return ""


def _names_secret(message: str, name: str) -> bool:
    """By the kubelet's words for a Secret that is missing, or an entry of it."""
    return re.search(rf'secret "{re.escape(name)}"|in Secret [^/ ]+/{re.escape(name)}$', message) is not None


def addressed(job: TrainingJob, hint: str, *, pod: str = "", container: str = "") -> str:
    """A hint with the names of this job in place of its words in capitals; a name that is not known leaves its word."""
    part = part_of(job)
    if not part.checkpoints:
        hint = hint.replace(_RESUMES, _BEGINS_ANEW)
    source = part.source.config_map
    names = {
        "POD": pod,
        "CONTAINER": container,
        "NAMESPACE": job.metadata.namespace,
        "TRAININGJOB": job.metadata.name,
        "SCRIPT": part.entrypoint or job.spec.entrypoint,
        "RESOURCES": part.resources_field,
        "CONFIGMAP": source.name if source is not None else "",
    }
    for word, name in names.items():
        hint = re.sub(rf"\b{word}\b", name, hint) if name else hint
    return hint

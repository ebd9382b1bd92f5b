"""Labels, finalizers and the other names that Headrace writes on objects: spelled once."""

GROUP = "headrace.dev"
FIELD_MANAGER = "headrace"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_HEADRACE = "headrace"
MANAGED_SELECTOR = f"{MANAGED_BY}={MANAGED_BY_HEADRACE}"

TRAINING_JOB = f"{GROUP}/trainingjob"
TRAINING_JOB_UID = f"{GROUP}/trainingjob-uid"
ATTEMPT = f"{GROUP}/attempt"
QUEUE = "kueue.x-k8s.io/queue-name"

# Keeps a training pod after its deletion until the operator has taken its record.
RECORD_FINALIZER = f"{GROUP}/record"

MODEL_SERVICE = f"{GROUP}/modelservice"
MODEL_SERVICE_UID = f"{GROUP}/modelservice-uid"
REVISION = f"{GROUP}/revision"

# On a TrainingJob: what a person has decided of its version, who, and why. The chart's policy lets only who may
# approve write them (charts/headrace/templates/admission/approval.yaml).
APPROVAL = f"{GROUP}/approval"
APPROVAL_BY = f"{GROUP}/approval-by"
APPROVAL_REASON = f"{GROUP}/approval-reason"
APPROVE_VERB = "approve"

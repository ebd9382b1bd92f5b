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

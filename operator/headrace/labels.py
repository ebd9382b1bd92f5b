"""Labels, finalizers and the other names that Headrace writes on objects: spelled once."""

GROUP = "headrace.dev"
FIELD_MANAGER = "headrace"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_HEADRACE = "headrace"
MANAGED_SELECTOR = f"{MANAGED_BY}={MANAGED_BY_HEADRACE}"

TRAINING_JOB = f"{GROUP}/trainingjob"
TRAINING_JOB_UID = f"{GROUP}/trainingjob-uid"
ATTEMPT = f"{GROUP}/attempt"
# On what a TrainingJob with a schedule has made: its name.
SCHEDULE = f"{GROUP}/schedule"
# On a TrainingJob that is a trial of another one: whose, which one (from 0), and the metric that it is made for.
TRIAL_OF = f"{GROUP}/trial-of"
TRIAL = f"{GROUP}/trial"
OBJECTIVE = f"{GROUP}/objective"
# On a trial: the uid of the job that it was made by. It stands when that one is deleted and its trials are kept.
TUNED_BY = f"{GROUP}/tuned-by"
# On a trial that was stopped before its end, since it is worse than others.
PRUNED = f"{GROUP}/pruned"
# On a trial that ended well: what was decided of its model, which is none of the best ones.
TRIAL_MODEL = f"{GROUP}/trial-model"
QUEUE = "kueue.x-k8s.io/queue-name"

# On every object that is kept as it is planned: the hash of what was applied last.
APPLIED = f"{GROUP}/applied"

# Keeps a training pod after its deletion until the operator has taken its record.
RECORD_FINALIZER = f"{GROUP}/record"

MODEL_SERVICE = f"{GROUP}/modelservice"
MODEL_SERVICE_UID = f"{GROUP}/modelservice-uid"
REVISION = f"{GROUP}/revision"
# On what belongs to a service's explainer, which has no REVISION: no Service of a revision may find its pods.
ROLE = f"{GROUP}/role"
EXPLAINER = "explainer"
EXPLAINS = f"{GROUP}/explains"

# On a TrainingJob: what a person has decided of its version, who, and why. The chart's policy lets only who may
# approve write them (charts/headrace/templates/admission/approval.yaml).
APPROVAL = f"{GROUP}/approval"
APPROVAL_BY = f"{GROUP}/approval-by"
APPROVAL_REASON = f"{GROUP}/approval-reason"
APPROVE_VERB = "approve"
# On a ModelService: what a person wants done to its rollout, the version that it is about, who, when and why. The
# chart's policy lets only those write them who have the verb (charts/headrace/templates/admission/acts.yaml).
ACT = f"{GROUP}/act"
ACT_VERSION = f"{GROUP}/act-version"
ACT_BY = f"{GROUP}/act-by"
ACT_AT = f"{GROUP}/act-at"
ACT_REASON = f"{GROUP}/act-reason"

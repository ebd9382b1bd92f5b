"""What a user who is not an administrator may ask of the server, over and above MLflow's own grants.

MLflow lets every user create experiments and models of its own, lets whoever may log to an experiment rename it (and so
take a name in another namespace), and signs URLs with the server's credentials. Training pods run user code, so here a
tenant may read, and write its runs with what belongs to a run: a closed list, because the next MLflow brings more
routes. What is on the list is still subject to MLflow's grants. Pure; `gatekeeper` enforces it.
"""

import re
from enum import Enum


class Access(Enum):
    """Who may make a request; MLflow judges it afterwards all the same."""

    USERS = "users"
    ADMINISTRATORS = "administrators"
    NOBODY = "nobody"


READING = frozenset({"GET", "HEAD", "OPTIONS"})

# MLflow's assistant runs shell commands on the server for whoever comes from localhost, as `kubectl port-forward` does.
_NOBODY = re.compile(r"/ajax-api/3\.0/mlflow/assistant(/.*)?")

_TENANTS_WRITE = {
    "POST": (
        # a run and what belongs to it
        r"runs/(create|update|log-metric|log-batch|log-parameter|log-inputs|log-model|outputs|set-tag|delete-tag)",
        r"logged-models",
        r"logged-models/[^/]+/params",
        # searches
        r"(runs|experiments|logged-models|traces|datasets|issues)/search",
        r"experiments/search-datasets",
        r"registered-models/get-latest-versions",
        r"traces/(batchGetInfos|metrics|calculate-filter-correlation)",
        # the UI counts its clicks
        r"ui-telemetry",
    ),
    "PATCH": (r"logged-models/[^/]+(/tags)?",),
    "DELETE": (r"logged-models/[^/]+/tags/[^/]+",),
}
_ALLOWED = {
    method: re.compile(rf"/(ajax-)?api/[23]\.0/mlflow/({'|'.join(tails)})") for method, tails in _TENANTS_WRITE.items()
}
_GRAPHQL = "/graphql"

REFUSAL = (
    "this user may log runs and their artifacts. Experiments, models, versions and aliases are written by Headrace "
    "only: set spec.tracking.experiment and spec.output.model of the TrainingJob, do not make them in the script"
)


def access(method: str, path: str) -> Access:
    """Who may send `method` to `path` (decoded, without the query)."""
    if _NOBODY.fullmatch(path):
        return Access.NOBODY
    if method in READING:
        return Access.USERS
    if method == "POST" and path == _GRAPHQL:  # MLflow's own schema has queries only
        return Access.USERS
    allowed = _ALLOWED.get(method)
    return Access.USERS if allowed and allowed.fullmatch(path) else Access.ADMINISTRATORS

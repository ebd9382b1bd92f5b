"""The few calls of MLflow's REST API that a run needs, over http.client: the mlflow package weighs 69 MB and blocks.

No retries here: an answer, or an exception that says whether another try is worth it. A connection serves the calls of
its thread that come close together (`Connections`), and is never tried on where the server may have closed it.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace_common.json_numbers import to_json
from headrace_trainer.launcher.store.digests import shortened
from headrace_trainer.launcher.tracking.connections import Connections
from headrace_trainer.launcher.tracking.metrics import Metric

METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_MAX_PARAM = 6000
_MAX_TAG = 5000
_HISTORY_PAGE = 25000
_DELETED = "deleted"  # the lifecycle stage of what is in MLflow's trash


class Unavailable(Exception):
    """No answer, or one that another try may better (5xx, 429, a proxy's page)."""


class Refused(Exception):
    """The server said no to who asks (401, 403) or to what it is asked about."""


class Missing(Refused):
    """There is no such run or experiment, not in the trash either (404)."""


class Rejected(Exception):
    """The server does not like what it was sent (400)."""


@dataclass(frozen=True)
class Run:
    """A run as MLflow has it. `start_time` is in milliseconds since 1970, `logged` is the highest step logged of each
    key, `values` has its last value; a `deleted` one takes nothing.
    """

    id: str
    experiment_id: str
    artifact_uri: str
    start_time: int
    logged: Mapping[str, int]
    tags: Mapping[str, str]
    status: str
    deleted: bool
    values: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UsedDataset:
    """What a run was given: its name, the digest of its content (of which MLflow takes 36 characters), its address,
    and what it is used for.
    """

    name: str
    digest: str
    uri: str
    context: str = "training"


class MLflow:
    """One server and one user; every method may raise Unavailable, Refused or Rejected."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = urllib.parse.urlsplit(url)
        self._connections = Connections(self._url.scheme == "https", self._url.netloc)
        self._headers = {"Content-Type": "application/json"}
        if username:
            token = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def find_run(self, experiment_id: str, tag: str, value: str) -> Run | None:
        """The oldest run of the experiment that carries the tag; one that was deleted where there is no other."""
        quoted = value.replace("'", "")
        found = self._post(
            "runs/search",
            {
                "experiment_ids": [experiment_id],
                "filter": f"tags.\"{tag}\" = '{quoted}'",
                "order_by": ["attributes.start_time ASC"],
                "run_view_type": "ALL",
            },
        )
        runs = [_run(run) for run in found.get("runs") or []]
        return next((run for run in runs if not run.deleted), runs[0] if runs else None)

    def get_run(self, run_id: str) -> Run:
        """The run as it is now."""
        return _run(self._request("GET", "runs/get?" + urllib.parse.urlencode({"run_id": run_id}), None)["run"])

    def version_of(self, run_id: str, folder: str) -> str:
        """A version, of whichever model, that was made of this run, or of what lies in the folder (without a slash at
        its end); empty where there is none that this user may read.
        """
        for condition in (f"run_id = '{run_id}'", f"source_path LIKE '{folder}%'"):
            found = self._first_version(condition)
            if found is not None:
                return f"version {found['version']} of model {found['name']}"
        return ""

    def _first_version(self, condition: str) -> dict[str, Any] | None:
        """A page may be empty, and have a next one: MLflow leaves out what the user may not read."""
        token = ""
        while True:
            query = urllib.parse.urlencode({"filter": condition, "page_token": token})
            page = self._request("GET", f"model-versions/search?{query}", None)
            if versions := page.get("model_versions"):
                return dict(versions[0])
            token = page.get("next_page_token") or ""
            if not token:
                return None

    def is_experiment_deleted(self, experiment_id: str) -> bool:
        """Whether the experiment is in MLflow's trash, and all of its runs with it."""
        query = urllib.parse.urlencode({"experiment_id": experiment_id})
        found = self._request("GET", f"experiments/get?{query}", None)
        return bool(found["experiment"].get("lifecycle_stage") == _DELETED)

    def create_run(self, experiment_id: str, name: str, time: int, tags: Mapping[str, str]) -> Run:
        """A new run, RUNNING."""
        body = {"experiment_id": experiment_id, "run_name": name, "start_time": time, "tags": _pairs(tags, _MAX_TAG)}
        return _run(self._post("runs/create", body)["run"])

    def update_run(self, run_id: str, status: str, end_time: int | None) -> None:
        """Set a run's status; `end_time` in milliseconds since 1970."""
        body = {"run_id": run_id, "status": status}
        self._post("runs/update", body if end_time is None else {**body, "end_time": end_time})

    def log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """At most METRICS_PER_BATCH. MLflow keeps one of two that are equal in key, value, time and step."""
        values = [{"key": m.key, "value": to_json(m.value), "timestamp": m.time, "step": m.step} for m in metrics]
        self._post("runs/log-batch", {"run_id": run_id, "metrics": values})

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Any number; logging the same again is no error."""
        pairs = _pairs(params, _MAX_PARAM)
        for start in range(0, len(pairs), _PARAMS_PER_BATCH):
            self._post("runs/log-batch", {"run_id": run_id, "params": pairs[start : start + _PARAMS_PER_BATCH]})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags on a run."""
        self._post("runs/log-batch", {"run_id": run_id, "tags": _pairs(tags, _MAX_TAG)})

    def log_datasets(self, run_id: str, datasets: Sequence[UsedDataset]) -> None:
        """A run has each (name, digest) once, however often it is logged."""
        inputs: list[dict[str, Any]] = [
            {
                "tags": [{"key": "mlflow.data.context", "value": used.context}],
                "dataset": {
                    "name": used.name,
                    "digest": shortened(used.digest),
                    **_source(used.uri),
                },
            }
            for used in datasets
        ]
        self._post("runs/log-inputs", {"run_id": run_id, "datasets": inputs})

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """All (step, value) of a metric, as they were logged."""
        found, token = self.history_page(run_id, key, "", _HISTORY_PAGE)
        while token:
            more, token = self.history_page(run_id, key, token, _HISTORY_PAGE)
            found += more
        return found

    def history_page(self, run_id: str, key: str, token: str, most: int) -> tuple[list[tuple[int, float]], str]:
        """At most so many (step, value) of a metric, in the order of their times, from `token` on, which a page before
        has named (empty: the first ones); and the token of the next page, empty where there is none yet.
        """
        query = {"run_id": run_id, "metric_key": key, "max_results": str(most), "page_token": token}
        page = self._request("GET", "metrics/get-history?" + urllib.parse.urlencode(query), None)
        found = [(int(m.get("step", 0)), float(m["value"])) for m in page.get("metrics", ())]
        return found, page.get("next_page_token") or ""

    def curve(self, run_id: str, key: str, most: int) -> list[tuple[float, float]]:
        """At most so many (step, value) of a metric, evenly taken, in the order of their steps: what MLflow's own page
        asks for.
        """
        query = urllib.parse.urlencode({"run_ids": run_id, "metric_key": key, "max_results": str(most)})
        answer = self._request("GET", f"metrics/get-history-bulk-interval?{query}", None)
        found = [(float(m.get("step", 0)), float(m["value"])) for m in answer.get("metrics", ())]
        return sorted(found, key=lambda point: point[0])[:most]

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._request("POST", path, json.dumps(body).encode())

    def _request(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        url = f"{self._url.path}/api/2.0/mlflow/{path}"
        try:
            status, text = self._connections.call(method, url, body, self._headers)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return _answer(status, text)


def _answer(status: int, text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text or b"{}")
    except ValueError:
        data = None
    problem = str(data.get("message", "")) if isinstance(data, dict) else text[:200].decode("utf-8", errors="replace")
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        raise Refused(f"{status} {problem}")
    if status == http.HTTPStatus.NOT_FOUND and isinstance(data, dict) and data.get("error_code"):
        raise Missing(f"{status} {problem}")
    if status == http.HTTPStatus.BAD_REQUEST:
        raise Rejected(problem)
    if status != http.HTTPStatus.OK or not isinstance(data, dict):
        raise Unavailable(f"{status} {problem}")
    return data


def _run(data: Mapping[str, Any]) -> Run:
    info, content = data["info"], data.get("data", {})
    logged = {m["key"]: int(m.get("step", 0)) for m in content.get("metrics", ())}
    tags = {tag["key"]: tag["value"] for tag in content.get("tags", ())}
    return Run(
        id=info["run_id"],
        experiment_id=info["experiment_id"],
        artifact_uri=info["artifact_uri"],
        start_time=int(info["start_time"]),
        logged=logged,
        tags=tags,
        status=info.get("status", ""),
        deleted=info.get("lifecycle_stage") == _DELETED,
        values={m["key"]: float(m["value"]) for m in content.get("metrics", ())},
        params={param["key"]: param["value"] for param in content.get("params", ())},
    )


def _pairs(values: Mapping[str, str], longest: int) -> list[dict[str, str]]:
    return [{"key": key, "value": value[:longest]} for key, value in values.items()]


def _source(uri: str) -> dict[str, str]:
    """In the words of mlflow.data, which finds a dataset's data by them where it knows the kind of address."""
    scheme = uri.partition("://")[0]
    kind, key = ("http", "url") if scheme == "https" else (scheme, "uri")
    return {"source_type": kind, "source": json.dumps({key: uri})}

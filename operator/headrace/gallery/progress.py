"""What the status of an example's object says to somebody who waits for it. Pure: statuses in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from headrace.kube.resources import Object
from headrace.sentences import joined, rounded


class Outcome(Enum):
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Seen:
    """How far an object is; `line` is for people."""

    outcome: Outcome
    line: str


def of_job(job: Object) -> Seen:
    """A TrainingJob is done when a version of its model is registered."""
    status = job.get("status") or {}
    state, model = status.get("state", "Pending"), status.get("model") or {}
    if state == "Failed":
        failure = status.get("failure") or {}
        told = joined(failure.get("message", ""), _advice(status))
        return Seen(Outcome.FAILED, _sentence("Failed", status.get("reason"), told))
    if state != "Succeeded":
        columns = status.get("columns") or {}
        shown = [columns.get(name, "-") for name in ("progress", "metric")]
        eta = columns.get("eta", "-")
        parts = [state, status.get("reason"), *(part for part in shown if part != "-")]
        return Seen(Outcome.UNDER_WAY, _sentence(*parts, f"{eta} to go" if eta != "-" else ""))
    if not model.get("version"):
        return Seen(Outcome.FAILED, _sentence("no version:", status.get("reason"), _gates(model), _advice(status)))
    return Seen(Outcome.DONE, _sentence("Succeeded", _gates(model), f"version {model['version']} of {model['name']}"))


def of_service(service: Object) -> Seen:
    """A ModelService is done when requests are answered; it is judged by a status of its present spec only."""
    status = service.get("status") or {}
    if status.get("observedGeneration") != service["metadata"].get("generation"):
        return Seen(Outcome.UNDER_WAY, "Pending")
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    line = _sentence(status.get("phase", "Pending"), status.get("reason"), ready.get("message"))
    if ready.get("status") == "True":
        return Seen(Outcome.DONE, line)
    return Seen(Outcome.FAILED if status.get("phase") == "Failed" else Outcome.UNDER_WAY, line)


def address_of(service: Object) -> str:
    """Where clients ask: status.url up to /v2 or /v1."""
    url = str((service.get("status") or {}).get("url", ""))
    model = f"/models/{service['metadata']['name']}"
    return url.removesuffix(f"/v2{model}").removesuffix(f"/v1{model}")


def _gates(model: Mapping[str, Any]) -> str:
    checks = (model.get("gate") or {}).get("checks", [])
    return ", ".join(f"{check['metric']}={rounded(check.get('value', 'absent'))}" for check in checks)


def _advice(status: Mapping[str, Any]) -> str:
    return str((status.get("failure") or {}).get("hint") or status.get("message") or "")


def _sentence(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)

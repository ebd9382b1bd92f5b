"""The example's ModelService: brought up, asked, watched while a new version takes over or is rolled back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import yaml

from headrace_local.errors import LocalClusterError
from headrace_local.quickstart.names import TENANT
from headrace_local.quickstart.platform import Addresses
from headrace_local.quickstart.report import CannotGetDoneError, Report
from headrace_local.quickstart.targets import Target, get
from headrace_local.quickstart.training import EXAMPLE, NAME, Version
from headrace_local.shell import run

WORDS = ("this", "license", "applies", "to")

_READY_TIMEOUT = 300.0
_ROLLOUT_TIMEOUT = 600.0
_LOOK_AT = f"Look at `kubectl -n {TENANT} describe modelservice {NAME}` and `kubectl -n {TENANT} get pods`."


def base_url(where: Addresses) -> str:
    return f"{where.gateway}/{TENANT}/{NAME}"


def infer_url(where: Addresses) -> str:
    return f"{base_url(where)}/v2/models/{NAME}/infer"


def request_body(folder: Path) -> str:
    """A request of the Open Inference Protocol with the first words' numbers."""
    vocabulary: list[str] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    tokens = [vocabulary.index(word) if word in vocabulary else 0 for word in WORDS]
    return json.dumps({"inputs": [{"name": "tokens", "datatype": "INT32", "shape": [1, len(tokens)], "data": tokens}]})


def start(
    target: Target, report: Report, first: Version, requests: Callable[[], AbstractContextManager[object]]
) -> None:
    """Apply the ModelService and wait until it serves the first version.

    After an earlier run it starts with the version that was promoted then, and this one takes the steps of a rollout;
    only `requests`, sent as long as the context is open, bring that to its end.
    """
    manifest = yaml.safe_load((EXAMPLE / "modelservice.yaml").read_text())
    target.kubectl("apply", "--server-side", "-f", "-", f"--namespace={TENANT}", stdin=json.dumps(manifest))

    with ExitStack() as sending:
        is_sending = False

        def look() -> tuple[bool, str]:
            nonlocal is_sending
            status = _status(target)
            stable = _version(status.get("stable"))
            if stable and status.get("canary") and not is_sending:
                is_sending = True
                report(f"version {stable} was promoted in an earlier run: version {first.number} takes over in steps")
                sending.enter_context(requests())
            served = _version(status.get("stable")) == first.number and status.get("phase") == "Stable"
            return served and (status.get("columns") or {}).get("ready") == "True", describe(status)

        report.wait(f"ModelService {NAME}", look, timeout=_READY_TIMEOUT, hint=_LOOK_AT)


def curl(where: Addresses, body: str) -> list[str]:
    return ["curl", "-sS", infer_url(where), "-H", "Content-Type: application/json", "--data", body]


def ask(report: Report, where: Addresses, body: str) -> str:
    """The answer to one request through the gateway, which may need a moment to have the route."""
    command = [*curl(where, body), "--fail-with-body", "--max-time", "20"]
    answer = ""

    def look() -> tuple[bool, str]:
        nonlocal answer
        try:
            answer = run(command, timeout=30)
        except LocalClusterError as error:
            if "error: 404" in str(error):
                return False, "the gateway does not have the route yet"
            raise
        return True, ""

    report.wait("a request through the gateway", look, timeout=60, hint=_LOOK_AT)
    return answer


def shortened(answer: str) -> str:
    """An answer without most of its 10,000 probabilities."""
    head, separator, tail = answer.partition('"data":[')
    if not separator:
        return answer[:300]
    numbers, _, rest = tail.partition("]")
    first = ",".join(numbers.split(",")[:4])
    return f"{head}{separator}{first},... {numbers.count(',') - 3} more]{rest}"


def wait_until_promoted(target: Target, report: Report, version: Version) -> None:
    """Watch a version take the traffic."""

    def look() -> tuple[bool, str]:
        status = _status(target)
        _raise_when_rejected(status, version)
        return _version(status.get("stable")) == version.number and status.get("phase") == "Stable", describe(status)

    report.wait(f"version {version.number} taking over", look, timeout=_ROLLOUT_TIMEOUT, hint=_LOOK_AT)


def wait_until_rolled_back(target: Target, report: Report, version: Version) -> str:
    """Watch a version be rolled back; the reason that the service gives."""

    def look() -> tuple[bool, str]:
        status = _status(target)
        if _version(status.get("stable")) == version.number:
            raise CannotGetDoneError(
                f"version {version.number} took over: it was expected to be rolled back. {_LOOK_AT}"
            )
        settled = status.get("phase") in ("Stable", "RolledBack") and not status.get("canary")
        return _rejection(status, version) is not None and settled, describe(status)

    report.wait(f"version {version.number} being rolled back", look, timeout=_ROLLOUT_TIMEOUT, hint=_LOOK_AT)
    found = _rejection(_status(target), version) or {}
    return f"{found.get('reason')}: {found.get('message')}"


def history(target: Target) -> list[str]:
    """The rollouts that ended, as status keeps them, and the service's Events in their order."""
    service = get(target, f"modelservice/{NAME}", f"--namespace={TENANT}")
    lines = []
    for entry in service["status"].get("history") or []:
        ended = entry.get("finishedAt", "")[11:19]
        lines.append(f"{ended}  version {entry.get('version')}: {entry['outcome']} ({entry.get('reason')})")
    # By uid: Events of a service of the same name, gone by now, are kept for an hour.
    selector = f"--field-selector=involvedObject.uid={service['metadata']['uid']}"
    events = get(target, "events", f"--namespace={TENANT}", selector)["items"]
    for event in sorted(events, key=_event_time):
        lines.append(
            f"{_event_time(event)[11:19]}  {event['reason']:<16} {event.get('message') or event.get('note', '')}"
        )
    return lines


def describe(status: Mapping[str, Any]) -> str:
    """A service's columns in one line, those that say something."""
    columns = status.get("columns") or {}
    parts = [status.get("phase", "Pending"), f"stable {columns.get('stable', '-')}"]
    if columns.get("canary", "-") != "-":
        parts.append(f"canary {columns['canary']}")
    if columns.get("verdict", "-") != "-":
        parts.append(columns["verdict"])
    if status.get("message") and status["message"] != columns.get("verdict"):
        parts.append(f"({status['message']})")
    return "  ".join(parts)


def curl_text(where: Addresses, body: str) -> str:
    return shlex.join(curl(where, body))


def _status(target: Target) -> dict[str, Any]:
    status: dict[str, Any] = get(target, f"modelservice/{NAME}", f"--namespace={TENANT}").get("status", {})
    return status


def _version(revision: Mapping[str, Any] | None) -> str:
    return str(((revision or {}).get("model") or {}).get("version", ""))


def _rejection(status: Mapping[str, Any], version: Version) -> Mapping[str, Any] | None:
    return next((entry for entry in status.get("rejected") or [] if entry["digest"] == version.digest), None)


def _raise_when_rejected(status: Mapping[str, Any], version: Version) -> None:
    found = _rejection(status, version)
    if found is not None:
        raise CannotGetDoneError(
            f"version {version.number} was rolled back ({found['reason']}: {found.get('message')}). "
            f"On a busy machine its answers may have been too slow. {_LOOK_AT}"
        )


def _event_time(event: Mapping[str, Any]) -> str:
    return str(event.get("eventTime") or event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])

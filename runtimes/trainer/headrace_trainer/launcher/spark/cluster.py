"""What the driver's pod asks the API server itself: whether it may make executors, and why one of them does not start.

By the token of the pod's service account. Without one (outside of a cluster) nothing is asked.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.judge import Failure

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 10.0
_NEEDED = ("create", "get", "list", "watch", "delete")
_HOW = (
    "Run `headrace tenant add` for this namespace again, which makes the service account headrace-spark, or give the "
    "one in spec.prepare.spark.serviceAccountName a Role with create, get, list, watch, delete and deletecollection of "
    "pods."
)


class Cluster:
    """The API server, as the pod's service account. `address` is where it answers, `account` the token's folder."""

    def __init__(self, address: str, namespace: str, account: Path = _ACCOUNT) -> None:
        self._address = address
        self._namespace = namespace
        self._account = account

    @staticmethod
    def around(env: Mapping[str, str], namespace: str, account: Path = _ACCOUNT) -> Cluster | None:
        """That of the pod; None where there is none."""
        host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        if not host or not (account / "token").is_file():
            return None
        return Cluster(f"https://{f'[{host}]' if ':' in host else host}:{port}", namespace, account)

    def refused(self) -> Failure | None:
        """What the service account may not do. Raises OSError where the API server cannot be asked."""
        for verb in _NEEDED:
            asked = {"namespace": self._namespace, "verb": verb, "resource": "pods"}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            }
            answer = self._ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
            if (answer.get("status") or {}).get("allowed") is not True:
                return not_allowed(verb, self._namespace)
        return None

    def executors(self, uid: str) -> list[Mapping[str, Any]]:
        """The pods of the job's executors. Raises OSError."""
        found = self._ask(self._executors_of(uid))
        return [item for item in found.get("items") or [] if isinstance(item, dict)]

    def delete_executors(self, uid: str) -> None:
        """Those of the job's earlier attempts: to be called before there are any of this one. Raises OSError."""
        self._ask(self._executors_of(uid), method="DELETE")

    def _executors_of(self, uid: str) -> str:
        query = f"labelSelector=headrace.dev%2Ftrainingjob-uid%3D{uid}%2Cspark-role%3Dexecutor"
        return f"/api/v1/namespaces/{self._namespace}/pods?{query}"

    def _ask(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        token = (self._account / "token").read_text().strip()  # it is renewed
        request = urllib.request.Request(
            f"{self._address}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self._address.startswith("https://"):
            handlers.append(
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self._account / "ca.crt")))
            )
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=_SECONDS) as answer:
                found = json.loads(answer.read())
        except HTTPException as error:  # no OSError, such as an answer that is cut off
            raise OSError(f"the API server's answer is not whole: {error!r}") from error
        except ValueError as error:
            raise OSError(f"the API server's answer is no JSON: {error}") from error
        return found if isinstance(found, dict) else {}


def not_allowed(verb: str, namespace: str) -> Failure:
    """The driver's service account lacks a right."""
    return Failure(
        Reason.SPARK_NOT_ALLOWED,
        f"the driver's service account may not {verb} pods in namespace {namespace}, and so cannot make executors",
        _HOW,
    )


def executors_pending(executors: int, seconds: float, pods: Iterable[Mapping[str, Any]]) -> Failure:
    """None of them came; `pods` are those that were made for them."""
    why = next((text for pod in pods if (text := why_pending(pod))), "")
    told = (
        f": {why}"
        if why
        else ", and no pod was made for one: the program sets another master, or the pod's log says why"
    )
    return Failure(
        Reason.SPARK_EXECUTORS_PENDING,
        f"none of the {executors} executors was there after {seconds:.0f} s{told}",
        "Ask for less in spec.prepare.spark.executorResources, or for fewer executors; or make room in the cluster or "
        "in the namespace's quota. spec.startDeadlineSeconds says for how long they are waited for.",
    )


def why_pending(pod: Mapping[str, Any]) -> str:
    """In the scheduler's words, or in the kubelet's; empty where neither says anything."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"its container ended with exit code {ended['exitCode']}"
    return ""

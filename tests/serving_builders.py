"""ModelServices and serving pods as the API server shows them: only what a test names differs from healthy ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.api.modelservice import ModelService
from headrace.serving.observed import ServingPod, Trouble
from headrace.serving.revision import Artifact

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "6f1c0000-0000-0000-0000-000000000002"
ROUTE = {"parentRefs": [{"name": "headrace", "namespace": "headrace-system"}], "hostnames": ["text.example.com"]}


def gateway_answer(route: dict[str, Any], *, refuses: bool = False) -> dict[str, Any]:
    """What a controller of Gateways writes to the status of an HTTPRoute, of its newest generation."""
    meta = route["metadata"]
    common = {"observedGeneration": meta["generation"], "lastTransitionTime": meta["creationTimestamp"]}
    references = ("False", "BackendNotFound") if refuses else ("True", "ResolvedRefs")
    conditions = [
        {"type": kind, "status": value, "reason": reason, "message": f"{kind} is {value}"} | common
        for kind, value, reason in (("Accepted", "True", "Accepted"), ("ResolvedRefs", *references))
    ]
    parent = {"controllerName": "example.com/gateway", "parentRef": ROUTE["parentRefs"][0]}
    return {"parents": [parent | {"conditions": conditions}]}


def model_service(
    status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> ModelService:
    asked = {
        "model": {"registry": {"name": "text", "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "scaling": {"replicas": 2},
        "rollout": {"steps": [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}]},
        "route": ROUTE,
    }
    return ModelService.model_validate(
        {
            "metadata": {
                "name": "text",
                "namespace": "team-a",
                "uid": UID,
                "generation": 1,
                "creationTimestamp": "2030-01-01T11:00:00Z",
                "annotations": annotations or {},
            },
            "spec": asked | spec,
            "status": status or {},
        }
    )


def artifact(version: int, model: str = "team-a.text", takes: int | None = None) -> Artifact:
    """`takes` is the number of columns of its input, where its signature is known."""
    described = "" if takes is None else signature(takes)
    return Artifact(f"s3://team-a/models/{version}", f"sha256:{version:064d}", model, str(version), signature=described)


def signature(columns: int) -> str:
    """The text of a model's inputs and outputs."""
    return f'{{"inputs":{{"x":"FP32 [-1,{columns}]"}},"outputs":{{"y":"FP32 [-1]"}}}}'


def serving_pod(name: str, revision: str, trouble: Trouble | None = None, **changed: Any) -> ServingPod:
    """Ready for a minute; with `trouble` not ready."""
    healthy = {
        "name": name,
        "revision": revision,
        "ip": "10.0.0.1",
        "ready": trouble is None,
        "ready_since": NOW - timedelta(minutes=1),
        "going": False,
        "trouble": trouble,
    }
    return ServingPod(**(healthy | changed))

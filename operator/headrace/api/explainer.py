"""spec.explain of a ModelService: explanations of its answers, by a process of their own."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from headrace.api.base import Model, Rule, Schema, matching
from headrace.api.common import Resources
from headrace.api.scalars import Duration, Subdomain, duration_between


class ExplainMethod(StrEnum):
    AUTO = "Auto"
    SHAPLEY = "Shapley"
    OCCLUSION = "Occlusion"


class ConfigMapKey(Model):
    """One key of a ConfigMap in this namespace."""

    name: Annotated[Subdomain, Schema("Name of the ConfigMap.")]
    key: Annotated[
        str,
        Schema(
            "The key in it.",
            maxLength=253,
            rules=(matching(r"^[-._a-zA-Z0-9]+$", "must be a key of a ConfigMap, such as background.json"),),
        ),
    ] = "background.json"


class Background(Model):
    """What a row is compared with."""

    config_map: Annotated[
        ConfigMapKey,
        Schema(
            'Rows as the inputs of an inference request, {"inputs": [...]}: at most 256, such as a sample of the '
            "training data. Whoever may read the ConfigMap can read them. It is read at a pod's start."
        ),
    ]


class Explain(Model):
    """Pods of their own that explain the stable version's answers, at /v2/models/NAME/explain."""

    method: Annotated[
        ExplainMethod,
        Schema(
            "Of requests that name none. Shapley: what each column of a table adds to the answer, on average over "
            "all orders. Occlusion: how the answer changes where a part of a picture or sequence is hidden. Auto: by "
            "the model's inputs."
        ),
    ] = ExplainMethod.AUTO
    background: Annotated[Background | None, Schema("What a row is compared with. Absent: a row of zeros.")] = None
    budget: Annotated[
        int,
        Schema(
            "Rows that the model is asked at most to explain one row; a request may ask for less.",
            minimum=8,
            maximum=100000,
        ),
    ] = 512
    deadline: Annotated[
        Duration,
        Schema(
            "Time for one request, waiting for its turn included, such as 30s.", rules=(duration_between("1s", "10m"),)
        ),
    ] = timedelta(seconds=30)
    resources: Annotated[
        Resources,
        Schema(
            "Compute resources of each of these pods, apart from spec.resources. Where cpu is not named: a limit of 1 "
            "and a request of 10m, so that the servers go first where both want it. Memory has no default."
        ),
    ] = Resources()
    replicas: Annotated[int, Schema("Pods that explain.", minimum=1, maximum=100)] = 1


# Which runtimes take which formats is the installation's to say, and the operator's to tell; this one never takes ONNX.
RULE = Rule(
    "!has(self.explain) || self.runtime.name != 'tensorflow-serving'",
    "explanations are made with the model's ONNX format: set runtime.name to onnxruntime (the model needs "
    "output.requiredFormats with ONNX), or leave explain out",
    field_path=".explain",
)

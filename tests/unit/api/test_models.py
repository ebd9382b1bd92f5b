"""Reading and writing objects: what the API server accepts can be read, and what is written is within its bounds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.api.base import Model
from headrace.api.crd import root_schema
from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import (
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
)

SMALL = {
    "metadata": {
        "name": "text-generator",
        "namespace": "team-a",
        "uid": "u",
        "creationTimestamp": "2025-01-01T00:00:00Z",
    },
    "spec": {"source": {"configMap": {"name": "text-generator"}}, "entrypoint": "train.py"},
}


def pattern_of(schema: dict[str, Any]) -> str | None:
    """The pattern that a string has to match: a rule of its own, for the sake of its message."""
    rules = (rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
    found = (re.fullmatch(r"(?:string\(self\)|self)\.matches\(r'(.*)'\)", rule) for rule in rules)
    return next((match[1] for match in found if match), schema.get("pattern"))


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON that a schema allows (its CEL rules left out), a few entries in lists and maps."""
    pattern = pattern_of(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        texts = st.from_regex(pattern, fullmatch=True) if pattern else st.text(max_size=12)
        return st.integers(0, 64) | texts
    kind = schema.get("type")
    if kind == "object" and "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        parts = {name: documents(part) for name, part in schema["properties"].items()}
        required = schema.get("required", [])
        return st.fixed_dictionaries(
            {name: parts[name] for name in required},
            optional={name: part for name, part in parts.items() if name not in required},
        )
    if "additionalProperties" in schema:
        return st.dictionaries(
            st.from_regex(r"[a-z_]{1,8}", fullmatch=True), documents(schema["additionalProperties"]), max_size=2
        )
    if kind == "object":
        return st.fixed_dictionaries({"spec": st.just({"priorityClassName": "high"})})
    if kind == "array":
        return st.lists(documents(schema["items"]), min_size=schema.get("minItems", 0), max_size=2)
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(schema.get("minimum", 0), schema.get("maximum", 2**63 - 1))
    if schema.get("format") == "date-time":
        return st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(
            lambda time: time.replace(microsecond=0).isoformat() + "Z"
        )
    if pattern:
        return st.from_regex(pattern, fullmatch=True)
    if kind == "string":
        return st.text(min_size=schema.get("minLength", 0), max_size=12)
    return (
        st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
    )


@cache
def resources(root: type[Model]) -> st.SearchStrategy[Any]:
    properties = root_schema(root)["properties"]
    metadata = st.just({"name": "a", "namespace": "b"})
    return st.fixed_dictionaries(
        {"metadata": metadata, "spec": documents(properties["spec"])},
        optional={"status": documents(properties["status"])},
    )


def names(value: Any) -> Any:
    """The shape of a document: its keys, not its values."""
    if isinstance(value, dict):
        return {key: names(part) for key, part in value.items()}
    return [names(part) for part in value] if isinstance(value, list) else None


def is_within(small: Any, large: Any) -> bool:
    if isinstance(small, dict):
        return all(key in large and is_within(part, large[key]) for key, part in small.items())
    if isinstance(small, list):
        return len(small) == len(large) and all(map(is_within, small, large))
    return True


@pytest.mark.parametrize("root", [TrainingJob, ModelService])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_schema_allows_can_be_read_and_written_back(root, data):
    document = data.draw(resources(root))
    model = root.model_validate(document)
    written = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert root.model_validate(written) == model
    assert is_within(names(document), names(written))


def test_an_object_without_status_is_readable():
    job = TrainingJob.model_validate(SMALL)
    assert job.status == TrainingJobStatus()
    assert job.metadata.creation_timestamp == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_readers_defaults_are_the_schemas():
    properties = root_schema(TrainingJob)["properties"]["spec"]["properties"]
    defaults = {name: part["default"] for name, part in properties.items() if "default" in part}
    explicit = TrainingJobSpec.model_validate(SMALL["spec"] | defaults)
    assert explicit == TrainingJob.model_validate(SMALL).spec


def test_fields_of_another_release_are_ignored():
    newer = SMALL | {"spec": SMALL["spec"] | {"teleport": True}}
    assert TrainingJob.model_validate(newer) == TrainingJob.model_validate(SMALL)


@pytest.mark.parametrize("value", [True, 1, 0.001, "010", "true"])
def test_a_parameter_keeps_its_json_type(value):
    job = TrainingJob.model_validate(SMALL | {"spec": SMALL["spec"] | {"parameters": {"x": value}}})
    kept = job.spec.parameters["x"]
    assert (type(kept), kept) == (type(value), value)


def test_typed_values_come_out_of_strings():
    spec = SMALL["spec"] | {"checkpoint": {"interval": "90s"}, "evaluation": {"gates": [{"metric": "a", "min": "0.2"}]}}
    job = TrainingJob.model_validate(SMALL | {"spec": spec})
    assert job.spec.checkpoint.interval == timedelta(seconds=90)
    assert job.spec.evaluation is not None
    assert job.spec.evaluation.gates[0].min == Decimal("0.2")


def test_models_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainingJob.model_validate(SMALL).spec.suspend = True  # type: ignore[misc]

"""How the model describes itself: its status and its signatures, as messages and in the official server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import json_format

from headrace_tensorflow_serving.tensorflow_parts import get_model_metadata_pb2, get_model_status_pb2

SIGNATURE_DEF = "signature_def"


def status(version: int, *, is_available: bool) -> Any:
    """GetModelStatusResponse for the one version that is served; one that is about to end is UNLOADING."""
    states = get_model_status_pb2.ModelVersionStatus
    response = get_model_status_pb2.GetModelStatusResponse()
    response.model_version_status.add(
        version=version, state=states.AVAILABLE if is_available else states.UNLOADING, status={}
    )
    return response


def metadata(model_name: str, version: int, signature_defs: Mapping[str, Any]) -> Any:
    """GetModelMetadataResponse with all signatures, also those that cannot be served."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in signature_defs.items():
        signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = model_name
    response.model_spec.version.value = version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status_json(message: Any) -> bytes:
    return orjson.dumps(_as_dict(message))


def metadata_json(message: Any) -> bytes:
    """The official form: what is packed in `metadata` is written out, without the name of its type."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    message.metadata[SIGNATURE_DEF].Unpack(signatures)
    return orjson.dumps({"model_spec": _as_dict(message.model_spec), "metadata": {SIGNATURE_DEF: _as_dict(signatures)}})


def _as_dict(message: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields

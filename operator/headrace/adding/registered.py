"""A version that somebody has registered in MLflow: where it lies, and which of its files is a model for our servers.

Asked as the tenant, so that nothing is found that the tenant may not read. Of the files only MLmodel is read here,
which says what the others are; the job's pod reads those itself, as of any address. An alias is followed once: what is
added is the version that it points at.
https://mlflow.org/docs/latest/ml/model/ (the MLmodel file, flavors)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from headrace.adding.bucket import Bucket, StoreAway
from headrace.adding.errors import CannotAdd
from headrace.adding.others import WHERE
from headrace.adding.request import Origin
from headrace.api.base import why_not
from headrace.api.scalars import DataURI
from headrace.sentences import listed
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import NotFound, TrackingError, TrackingForbidden
from headrace.tracking.redaction import redacted
from headrace_common.formats import ModelFormat
from headrace_common.paths import why_unsafe
from headrace_common.s3 import SCHEME, Place

ADDRESS = "models:/"
_FORM = "models:/NAME/VERSION or models:/NAME@ALIAS, with the name that the model has in MLflow"
_MLMODEL = "MLmodel"
_READ_BY_PODS = (SCHEME, "gs://", "az://")
_NOT_SHOWN = "has a character that cannot be shown"
_MOST_BYTES = 64 << 10
_MOST_OF_A_NAME, _MOST_OF_A_PATH = 40, 80
_ADDRESS = re.compile(r"models:/(?P<name>[^/@:]+)(?:/(?P<version>[0-9]{1,18})|@(?P<alias>[^/@:]+))")


@dataclass(frozen=True)
class Registered:
    """One of `version` and `alias` is empty."""

    name: str
    version: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Flavor:
    """The model of a version: a file or a folder below the version's own, with slashes."""

    format: ModelFormat
    path: str


def parse(address: str) -> Registered:
    """Raises CannotAdd."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise CannotAdd(f"{address!r} has to be like {_FORM}: neither stages nor `latest` say which version is meant")
    return Registered(found["name"], found["version"] or "", found["alias"] or "")


async def origin_of(asked: Registered, mlflow: MlflowClient, bucket: Bucket) -> Origin:
    """What the job's pod is to read. `bucket` is the tenant's: its key is used for any. Raises CannotAdd."""
    version, uri = await _place(asked, mlflow)
    called = f"{ADDRESS}{asked.name}/{version}"
    if not uri.isprintable():
        raise CannotAdd(f"{called} lies at {_shown(redacted(uri), _MOST_OF_A_PATH)}, which {_NOT_SHOWN}")
    if not uri.startswith(SCHEME):
        raise CannotAdd(f"{called} lies at {redacted(uri)}, where this command reads nothing: {_instead(called, uri)}")
    place = Place.parse(uri.rstrip("/"))
    there = replace(bucket, name=place.bucket)
    try:
        found = await there.objects(f"{place.key}/" if place.key else "")
    except StoreAway:
        raise
    except CannotAdd as error:
        raise CannotAdd(f"{called}: {error}: the key of the Secret has to be one that may read it") from error
    sizes = {key.removeprefix(f"{place.key}/"): each.size for key, each in found.items()}
    if (length := sizes.get(_MLMODEL)) is None:
        raise CannotAdd(f"{called}: there is no {place.below(_MLMODEL)}, which says what the files of a version are")
    if length > _MOST_BYTES:
        raise CannotAdd(
            f"{called}: {place.below(_MLMODEL)} has {length} bytes, and at most {_MOST_BYTES} are read: "
            f"{_instead(called, uri)}"
        )
    flavor = flavor_of(called, await there.get(place.below(_MLMODEL).key))
    folder, _, file = flavor.path.rpartition("/") if flavor.format is ModelFormat.ONNX else (flavor.path, "", "")
    needed = f"{folder}/{file}".lstrip("/") if file else f"{folder}/saved_model.pb"
    if needed not in sizes:
        raise CannotAdd(f"{called}: there is no {place.below(needed)}, which its {_MLMODEL} names")
    prefix = f"{folder}/" if folder else ""
    address = str(place.below(prefix)) if prefix else f"{str(place).rstrip('/')}/"
    if (why := why_not(DataURI, address)) is not None:
        raise CannotAdd(f"{called} lies at {address!r}, which {why}")
    size = sum(length for path, length in sizes.items() if path.startswith(prefix))
    return Origin(address, given=called, file=file, format=flavor.format, size=size)


def _instead(called: str, uri: str) -> str:
    if uri.startswith(_READ_BY_PODS):
        return f"name its ONNX file, or the folder of its SavedModel with / behind it, below {redacted(uri)}"
    return (
        f"`mlflow artifacts download --artifact-uri {called} --dst-path FOLDER` first, and name its ONNX file or the "
        "folder of its SavedModel"
    )


def flavor_of(called: str, mlmodel: bytes) -> Flavor:
    """Which of the files is the model, by its MLmodel: ONNX before a SavedModel. Raises CannotAdd with what to do where
    neither is there. The file is anybody's: what stands in it goes to a terminal only as Python shows it, and not long.
    """
    try:
        # Texts alone: PyYAML's readers of the other types raise anything, and may take long.
        found = yaml.load(mlmodel, yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        why = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split())[:200])
        raise CannotAdd(f"{called}: its {_MLMODEL} is not YAML: {why}") from error
    flavors = found.get("flavors") if isinstance(found, dict) else None
    if not isinstance(flavors, dict) or not flavors:
        raise CannotAdd(f"{called}: its {_MLMODEL} has no flavors")
    for format, flavor, field in (
        (ModelFormat.ONNX, "onnx", "data"),
        (ModelFormat.TENSORFLOW, "tensorflow", "saved_model_dir"),
    ):
        path = _path(flavors.get(flavor), field)
        if path is None:
            continue
        if why := why_unsafe(path) or ("" if path.isprintable() else _NOT_SHOWN):
            raise CannotAdd(f"{called}: its {_MLMODEL} names {_shown(path, _MOST_OF_A_PATH)}, which {why}")
        return Flavor(format, path)
    others = (_shown(name, _MOST_OF_A_NAME) for name in flavors if name != "python_function")
    names = listed(others) or "python_function alone"
    raise CannotAdd(
        f"{called} is no model that a server of ours reads: its flavors are {names}, and one of onnx, or tensorflow "
        f"with a SavedModel, is needed. {_what_to_do(flavors)}"
    )


def _shown(text: str, length: int) -> str:
    """In quotes and without what a terminal would do, of so many characters before they are written out."""
    return repr(text if len(text) <= length else f"{text[: length - 1]}…")


def _path(flavor: Any, field: str) -> str | None:
    path = flavor.get(field) if isinstance(flavor, dict) else None
    return path.rstrip("/") or None if isinstance(path, str) else None


def _what_to_do(flavors: Mapping[Any, Any]) -> str:
    if "tensorflow" in flavors or "keras" in flavors:
        return "Load it, and add what model.export(FOLDER) has saved"
    return f"No pickle is opened here: load it in a TrainingJob of framework: Script, and hand over ONNX; {WHERE}"


async def _place(asked: Registered, mlflow: MlflowClient) -> tuple[str, str]:
    """The version's number, and where it lies."""
    what = f"{ADDRESS}{asked.name}" + (f"/{asked.version}" if asked.version else f"@{asked.alias}")
    try:
        version = asked.version
        if not version:
            version = (await mlflow.get_model_version_by_alias(asked.name, asked.alias)).version
        return version, await mlflow.get_download_uri(asked.name, version)
    except NotFound as error:
        raise CannotAdd(f"{what}: {error}: name one that MLflow's page of the models shows") from error
    except TrackingForbidden as error:
        raise CannotAdd(
            f"{what}: {error}: the Secret's MLflow user has to be one that may read the model (or there is none of "
            "this name); another Secret is named with --secret"
        ) from error
    except TrackingError as error:
        raise CannotAdd(f"{what}: {error}: MLflow's address is that of --mlflow-url") from error

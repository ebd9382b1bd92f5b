"""A script that registers its model in MLflow is told that the job does so, and goes on; called once, after the script
has imported mlflow.

Only Headrace may write to the registry: a version that exists has been exported, compared and let through by its gates.
What is left out here would be refused there, after the whole training. The script gets what it may go on with: a
version 0, which MLflow never gives away. Whatever it then does with that name is left out, too. A registry of the
script's own is left alone.

Also loaded from its file, in a Python of the program's own (launcher/startup/sitecustomize.py): of this package it
imports nothing, and it needs Python 3.8.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry import fluent

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_VERSION = "0"
# By what they give back. Of a name that was left out: of any other name they may be answered, or refused.
_CREATE = {"create_registered_model": "model", "create_model_version": "version", "_create_model_version": "version"}
_GO_ON = {
    "update_registered_model": "model",
    "update_model_version": "version",
    "transition_model_version_stage": "version",
    "get_model_version": "version",
    "set_registered_model_tag": "nothing",
    "set_model_version_tag": "nothing",
    "set_registered_model_alias": "nothing",
}


def install(tracking_uri: str, say: Callable[[str], None]) -> None:
    """Leaves out what would be registered at this server, which is the job's; of each name `say` is told once."""
    left_out = _LeftOut(tracking_uri, say)
    for name in ("register_model", "_register_model"):
        _replace_function(name, left_out)
    for name, kind in {**_CREATE, **_GO_ON}.items():
        _replace_method(name, kind, left_out)


class _LeftOut:
    """The names that the script would have registered."""

    def __init__(self, tracking_uri: str, say: Callable[[str], None]) -> None:
        self._tracking_uri = tracking_uri
        self._say = say
        self.names: set[str] = set()

    def is_at_job_s(self, registry_uri: Any) -> bool:
        return bool(registry_uri == self._tracking_uri)

    def add(self, name: str) -> None:
        if name not in self.names:
            self.names.add(name)
            self._say(
                f"headrace: registering the mlflow model {name} is left out: the job registers its own, when its gates "
                "are met. Name it in spec.output.model"
            )


def _replace_function(function: str, left_out: _LeftOut) -> None:
    original = getattr(fluent, function, None)
    if original is None:  # the second is not in every mlflow
        return

    @functools.wraps(original)
    def register_model(model_uri: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if not left_out.is_at_job_s(mlflow.get_registry_uri()):
            return original(model_uri, name, *args, **kwargs)
        left_out.add(name)
        return _made("version", name, str(model_uri))

    for module in (fluent, mlflow.tracking, mlflow):
        if getattr(module, function, None) is original:
            setattr(module, function, register_model)


def _replace_method(method: str, kind: str, left_out: _LeftOut) -> None:
    original = getattr(MlflowClient, method, None)
    if original is None:
        return

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = args[0] if args else kwargs.get("name", "")
        at_job_s = left_out.is_at_job_s(getattr(self, "_registry_uri", None))
        if not at_job_s or not (method in _CREATE or name in left_out.names):
            return original(self, *args, **kwargs)
        left_out.add(name)
        source = args[1] if len(args) > 1 and method in _CREATE else kwargs.get("source")
        return _made(kind, name, source if isinstance(source, str) else None)

    setattr(MlflowClient, method, call)


def _made(kind: str, name: str, source: str | None) -> Any:
    now = int(time.time() * 1000)
    if kind == "version":
        return ModelVersion(name, _NO_VERSION, now, source=source)
    return RegisteredModel(name, now) if kind == "model" else None

"""What the script itself logs to MLflow goes into the job's run; called once, after the script has imported mlflow.

MLFLOW_RUN_ID, which the launcher sets, is enough for the first `start_run` of a process that sets no experiment.
Scripts set one, start a run for each phase, or let autolog do so, and all of that means the one run that the job has.
Its status is the launcher's: a block of `with mlflow.start_run()` ends long before the job does. A script that turns to
a server of its own is left alone. A parameter has one value in MLflow, and the launcher has logged the job's: a script
that logs another one, in a loop or in a later attempt, is told so and goes on. A metric that the launcher logs, too
(autolog's `loss`), is left out: it would be there twice, with epochs among its steps.

Also loaded from its file, in a Python of the program's own (launcher/startup/sitecustomize.py): of this package it
imports nothing, and it needs Python 3.8.
"""

from __future__ import annotations

import functools
import inspect
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient, fluent

if TYPE_CHECKING:
    from collections.abc import Callable

_RUN_ID, _EXPERIMENT_ID = "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"


def install(
    run_id: str, tracking_uri: str, say: Callable[[str], None], is_logged: Callable[[str], bool] = lambda metric: False
) -> None:
    """Puts the job's run behind start_run and set_experiment, and keeps its status from being written. What is done
    otherwise than the script has asked for is said by `say`; of a metric that `is_logged` by the launcher once.
    """
    run = _JobRun(run_id, tracking_uri)
    start_run, set_experiment = _start_run(run), _set_experiment(run, say)
    _keep_status(run_id)
    _keep_parameters(run_id, say)
    _keep_metrics(run_id, say, is_logged)
    _replace("start_run", start_run)
    _replace("set_experiment", set_experiment)
    _follow_no_loopback(tracking_uri, say)


class _JobRun:
    """The job's run, on the server that the launcher named."""

    def __init__(self, run_id: str, tracking_uri: str) -> None:
        self.id = run_id
        self._tracking_uri = tracking_uri

    @property
    def is_meant(self) -> bool:
        """Whether the script talks to the job's server now."""
        return bool(mlflow.get_tracking_uri() == self._tracking_uri)


def _replace(name: str, function: Any) -> None:
    setattr(fluent, name, function)
    setattr(mlflow, name, function)


def _start_run(run: _JobRun) -> Any:
    original = fluent.start_run
    signature = inspect.signature(original)

    @functools.wraps(original)
    def start_run(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        asked = bound.arguments
        # Else the original takes the job's run for one that was asked to be another.
        os.environ.pop(_RUN_ID, None)
        if not run.is_meant:
            os.environ.pop(_EXPERIMENT_ID, None)
        if run.is_meant and asked.get("run_id") is None and mlflow.active_run() is None:
            if not asked.get("nested"):
                asked["run_id"] = run.id
                asked.pop("run_name", None)  # the run is found by the job's name
            elif "parent_run_id" in signature.parameters:
                asked.setdefault("parent_run_id", run.id)
            else:  # an mlflow before 2.15
                asked["tags"] = {"mlflow.parentRunId": run.id, **(asked.get("tags") or {})}
        try:
            return original(*bound.args, **bound.kwargs)
        finally:
            if run.is_meant:
                os.environ[_RUN_ID] = run.id  # for processes that the script starts

    return start_run


def _set_experiment(run: _JobRun, say: Callable[[str], None]) -> Any:
    original = fluent.set_experiment

    @functools.wraps(original)
    def set_experiment(*args: Any, **kwargs: Any) -> Any:
        if not run.is_meant:
            return original(*args, **kwargs)
        experiment = mlflow.get_experiment(mlflow.get_run(run.id).info.experiment_id)
        say(f"headrace: mlflow.set_experiment is left out: the job logs to {experiment.name}")
        return experiment

    return set_experiment


def _follow_no_loopback(tracking_uri: str, say: Callable[[str], None]) -> None:
    """A tutorial's server is on the reader's own machine. In a pod nobody is there, and mlflow tries for minutes."""
    original = mlflow.set_tracking_uri

    @functools.wraps(original)
    def set_tracking_uri(uri: Any) -> None:
        if _is_loopback(uri) and not _is_loopback(tracking_uri):
            say(f"headrace: mlflow.set_tracking_uri({str(uri)!r}) is left out: the job logs to {tracking_uri}")
        else:
            original(uri)

    mlflow.set_tracking_uri = mlflow.tracking.set_tracking_uri = set_tracking_uri


def _is_loopback(uri: Any) -> bool:
    try:
        host = urlsplit(str(uri)).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "0.0.0.0", "::1") or host.startswith("127.")


def _keep_status(job_run: str) -> None:
    original = MlflowClient.set_terminated

    @functools.wraps(original)
    def set_terminated(self: Any, run_id: str, *args: Any, **kwargs: Any) -> None:
        if run_id != job_run:
            original(self, run_id, *args, **kwargs)

    MlflowClient.set_terminated = set_terminated


def _keep_parameters(job_run: str, say: Callable[[str], None]) -> None:
    log_param, log_batch = MlflowClient.log_param, MlflowClient.log_batch

    @functools.wraps(log_param)
    def one(self: Any, run_id: str, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return log_param(self, run_id, key, value, *args, **kwargs)
        except MlflowException as error:
            if run_id != job_run or not _has_another_value(error):
                raise
            say(f"headrace: mlflow parameter {key}={value} is left out: the run has it already")
            return value

    @functools.wraps(log_batch)
    def many(
        self: Any, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (), *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return log_batch(self, run_id, metrics, params, tags, *args, **kwargs)
        except MlflowException as error:
            if run_id != job_run or not _has_another_value(error):
                raise
        for param in params:
            one(self, run_id, param.key, param.value)
        return log_batch(self, run_id, metrics, (), tags, *args, **kwargs)

    MlflowClient.log_param, MlflowClient.log_batch = one, many


def _keep_metrics(job_run: str, say: Callable[[str], None], is_logged: Callable[[str], bool]) -> None:
    log_metric, log_batch = MlflowClient.log_metric, MlflowClient.log_batch
    told: set[str] = set()

    def is_left_out(run_id: str, key: str) -> bool:
        if run_id != job_run or not is_logged(key):
            return False
        if key not in told:
            told.add(key)
            say(f"headrace: mlflow metric {key} is left out: Headrace logs what Keras has measured under this name")
        return True

    @functools.wraps(log_metric)
    def one(self: Any, run_id: str, key: str, *args: Any, **kwargs: Any) -> Any:
        if is_left_out(run_id, key):
            return _nothing(kwargs)
        return log_metric(self, run_id, key, *args, **kwargs)

    @functools.wraps(log_batch)
    def many(
        self: Any, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (), *args: Any, **kwargs: Any
    ) -> Any:
        kept = [metric for metric in metrics if not is_left_out(run_id, metric.key)]
        if metrics and not (kept or params or tags):
            return _nothing(kwargs)
        return log_batch(self, run_id, kept, params, tags, *args, **kwargs)

    MlflowClient.log_metric, MlflowClient.log_batch = one, many


def _nothing(asked: dict[str, Any]) -> Any:
    """What a call gives that has nothing to log; an asynchronous one is waited for."""
    if asked.get("synchronous") is not False:
        return None
    from mlflow.utils.async_logging.run_operations import RunOperations

    return RunOperations(operation_futures=[])


def _has_another_value(error: MlflowException) -> bool:
    return "Changing param values is not allowed" in str(error)

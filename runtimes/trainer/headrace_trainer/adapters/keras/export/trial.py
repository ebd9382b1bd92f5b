"""An early trial of the export, in the middle of a long fit: that a model cannot be exported is told in its first
minutes, and not after its last epoch.

It is made at the end of a batch, once a model and process. Of several replicas the first one's variables are exported;
of several workers the chief does that alone, while the others wait for it in their next step (`alone`). What it makes
is thrown away, what it touches is put back (`untouched`), and whatever it meets is told: the training goes on. Short
fits pay nothing.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter

from headrace_common.formats import ModelFormat as Format
from headrace_trainer.adapters.keras.devices import alone
from headrace_trainer.adapters.keras.export.formats import full_precision, told, write
from headrace_trainer.adapters.keras.export.inputs import Inputs
from headrace_trainer.adapters.keras.export.servable import ExportError, Reference, Servable, servable
from headrace_trainer.adapters.keras.export.untouched import (
    NotTried,
    generators_put_back,
    untouched,
    variables_put_back,
)
from headrace_trainer.adapters.keras.fits import data as keras_data
from headrace_trainer.adapters.keras.fits import rows as keras_rows
from headrace_trainer.adapters.keras.models import weights as keras_weights
from headrace_trainer.adapters.keras.models.choose import described, name_of
from headrace_trainer.adapters.keras.models.parts import parts_of
from headrace_trainer.adapters.models import Trained
from headrace_trainer.adapters.session import FitRun, Session
from headrace_trainer.adapters.streams import say
from headrace_trainer.adapters.trial import Waiting

MAX_BYTES = 2**30  # of weights: an export holds several copies of them
_MAX_PROBLEM = 600
# Of these none says that the export will fail.
_INCONCLUSIVE = (NotTried, MemoryError, OSError, tf.errors.ResourceExhaustedError)


class Trials:
    """Of one script."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tried: list[weakref.ref[Any]] = []

    def of(self, run: FitRun) -> Trial | None:
        """The trial that this fit waits for; None where there is nothing to try."""
        settings = self._session.settings
        directory = settings.export_directory
        if not settings.is_chief or not settings.formats or directory is None:
            return None
        if any(tried() is run.model for tried in self._tried):
            return None
        return Trial(self._session, run, directory, self._tried)


class Trial:
    """Of one fit."""

    def __init__(self, session: Session, run: FitRun, directory: Path, tried: list[weakref.ref[Any]]) -> None:
        self._session = session
        self._run = run
        self._folder = directory.with_name(f"{directory.name}-trial")
        self._tried = tried
        settings = session.settings
        self._waiting = Waiting(settings.trial_after_seconds, settings.trial_left_seconds)
        self._is_done = False

    def is_due(self, step: int, total: int | None) -> bool:
        """Whether the batch that has just ended is the one to try after."""
        return not self._is_done and self._waiting.is_over(step, total, time.monotonic())

    def make(self) -> None:
        """Tries the export, and tells what came of it. Nobody else may be busy with the model."""
        self._is_done = True
        self._tried.append(weakref.ref(self._run.model))
        began = time.monotonic()
        try:
            problems = alone.run(self._run.iterator._distribute_strategy, self._try)
        except _INCONCLUSIVE as error:
            self._skip("", error)
        except Exception as error:  # noqa: BLE001 - the model is the user's code: whatever it raises is told
            self._tell(dict.fromkeys(self._session.settings.formats, told(error)), began)
        else:
            self._tell(problems, began)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            gc.collect()  # what was loaded again is full of cycles

    @property
    def _model(self) -> Any:
        """The one that the script has named already, or else the one that is trained, or its only part."""
        named = self._session.models.named
        if named is not None:
            return named
        parts = parts_of(self._run.model)
        return parts[0][1] if len(parts) == 1 else self._run.model

    def _try(self) -> dict[str, str]:
        """Why a format cannot be made, empty where it can; without those of which that is not to be known."""
        if parts := parts_of(self._model):
            names = ", ".join(name for name, _ in parts)
            raise ExportError(
                f"it has no call(), so one of its parts has to be named by headrace_client.export: {names}"
            )
        size = keras_weights.bytes_of(self._model)
        if size > MAX_BYTES:
            raise NotTried(f"its weights have {size / 2**30:.1f} GiB, more than {MAX_BYTES / 2**30:.0f}")
        generators = generators_put_back() if self._draws_here_only() else contextlib.nullcontext()
        problems: dict[str, str] = {}
        with untouched(self._model), generators, full_precision():
            made = self._servable()
            for name in self._session.settings.formats:
                if self._session.stop.is_requested:
                    raise NotTried("the training is to stop")
                try:
                    self._must_be_known(name)
                    remark = write(made, name, self._folder / name.lower(), self._session.text)
                except _INCONCLUSIVE as error:
                    self._skip(f" as {name}", error)
                except Exception as error:  # noqa: BLE001 - the converters raise whatever they meet
                    problems[name] = told(error)
                else:
                    problems[name] = ""
                    if remark:
                        say(f"headrace: model {self._name()} will be exported as {name} {remark}")
                shutil.rmtree(self._folder, ignore_errors=True)
        return problems

    def _must_be_known(self, name: Format) -> None:
        """Raises NotTried for text of a model that the script has not named yet, or of another one."""
        text = self._session.text
        if name is Format.TEXT and (text is None or text.model is not self._model):
            raise NotTried("headrace_client.text has not been called with it yet")

    def _servable(self) -> Servable:
        iterator = self._run.iterator
        if self._model is not self._run.model:
            return servable(replace(described(self._session.models, self._model), rows=None), _of_rows)
        spec = iterator._distributed_dataset.element_spec
        return servable(Trained(self._model, spec, keras_rows.at_hand(iterator.data_adapter)), _of_rows)

    def _draws_here_only(self) -> bool:
        """Whether no code of the script's may be drawing random numbers in another thread, to feed this fit."""
        iterator = self._run.iterator
        is_plain = isinstance(iterator.data_adapter, ArrayDataAdapter | TFDatasetAdapter)
        return is_plain and not keras_data.runs_python(iterator)

    def _name(self) -> str:
        return name_of(self._model, sys.modules["__main__"])

    def _skip(self, as_what: str, error: Exception) -> None:
        why = told(error)
        say(f"headrace: the export of model {self._name()}{as_what} is not tried early: {why}")

    def _tell(self, problems: dict[str, str], began: float) -> None:
        if not problems:
            return
        failed = {name: problem[:_MAX_PROBLEM] for name, problem in problems.items() if problem}
        self._session.messages.send(
            "exportTrial",
            model=self._name(),
            seconds=round(time.monotonic() - began, 1),
            formats=[name for name, problem in problems.items() if not problem],
            problems=failed,
        )


def _of_rows(made: Servable, inputs: Inputs, *, must_take_sizes: bool) -> tuple[Reference, ...]:
    """Compared on rows of the data only, where these are at hand: what a model makes of made-up ones says less, and a
    trial is not to give a false alarm.
    """
    if inputs.rows is None:
        return ()
    traced = tf.function(made.serve, input_signature=made.specs, autograph=False)
    with variables_put_back(traced.get_concrete_function()):
        return (made.refer(inputs.rows, traced),)

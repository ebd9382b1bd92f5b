"""`fit` as the script calls it: an ordinary one, one that goes on in its middle, or one that had finished and is
skipped.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from headrace_trainer.adapters import values
from headrace_trainer.adapters.checkpoint import Arrays, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.keras import random as keras_random
from headrace_trainer.adapters.keras import rows as keras_rows
from headrace_trainer.adapters.keras import state as keras_state
from headrace_trainer.adapters.keras.loop_state import LOOP
from headrace_trainer.adapters.keras.recorder import Recorder
from headrace_trainer.adapters.keras.trial import Trials
from headrace_trainer.adapters.session import FitRun, Session

# How long the end of a fit waits until the checkpoint before is written.
_WRITE_SECONDS = 60.0


class Fits:
    """All fits of the script, one after another."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run: FitRun | None = None
        self._recorder: Recorder | None = None
        self._steps_by_hand = 0
        self._trials = Trials(session)

    @property
    def is_running(self) -> bool:
        """Whether a fit is under way: what is called inside of it belongs to it."""
        return self._run is not None

    @property
    def is_followed(self) -> bool:
        """Whether Keras trains now, by a fit or a train_on_batch, and not a loop of the script's own."""
        return self._run is not None or self._steps_by_hand > 0

    @contextmanager
    def step_by_hand(self) -> Iterator[None]:
        """A train_on_batch."""
        self._steps_by_hand += 1
        try:
            yield
        finally:
            self._steps_by_hand -= 1

    def claim(self) -> FitRun | None:
        """The fit that waits for its training iterator, once."""
        return self._run if self._run is not None and self._run.iterator is None else None

    def resume(self, run: FitRun) -> None:
        """The data stands at the checkpoint's position."""
        assert self._recorder is not None
        self._recorder.resume()

    def logs_passed_over(self, model: Any) -> dict[str, float]:
        """The logs of a resumed epoch of which no step was left to train."""
        if self._recorder is None or self._run is None or self._run.model is not model:
            return {}
        return self._recorder.logs_passed_over()

    def fit(self, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Runs or skips one fit; the result is its History."""
        self._session.loop.fit_begins()
        model = arguments.arguments["self"]
        run = self._next_run(model)
        self._run = run
        self._session.models.begin(model)
        try:
            history = self._skip(run, original, arguments) if run.finished else self._train(run, original, arguments)
        except BaseException:  # the script may go on with what was trained
            if run.steps or run.measured:
                self._tell_models(run)
            raise
        else:
            self._session.fits += 1
            self._session.fit_steps += run.steps
            self._session.steps_of_finished_fits += run.steps
            self._tell_models(run)
            return history
        finally:
            # They know each other. An iterator that outlives its fit keeps its buffers, and its thread, which runs the
            # script's generator, hangs the end of the process.
            run.iterator = None
            self._run = None
            self._recorder = None
            model._initial_epoch = None
            self._session.stop.training_ends()

    def _tell_models(self, run: FitRun) -> None:
        models = self._session.models
        models.trained(run.model, "fit", run.measured)
        if run.iterator is not None:
            models.has_data(run.model, *keras_rows.described(run.iterator))

    def _next_run(self, model: Any) -> FitRun:
        index = self._session.fits
        resumed: Snapshot | None = None
        finished: FinishedFit | None = None
        before = self._session.checkpoint
        if before is not None:
            kept = before.finished[index] if index < len(before.finished) else None
            snapshot = before.snapshot
            if kept is not None:
                finished = None if LOOP in kept.state else kept
            elif not snapshot.between_fits and LOOP not in snapshot.state and snapshot.position.fit == index:
                resumed = snapshot
            if finished is None:
                self._session.checkpoint = None
        return FitRun(index, model, resumed, finished)

    def _train(self, run: FitRun, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        given = arguments.arguments.get("callbacks")
        if isinstance(given, keras.callbacks.CallbackList):
            others = list(given.callbacks)
            self._recorder = Recorder(self._session, run, others, self._trials.of(run))
            given.append(self._recorder)
        else:
            others = _with_history(keras.tree.flatten(given) if given else [])
            self._recorder = Recorder(self._session, run, others, self._trials.of(run))
            arguments.arguments["callbacks"] = [*others, self._recorder]
        history = original(*arguments.args, **arguments.kwargs)
        self._keep_end(run, others)
        return history

    def _keep_end(self, run: FitRun, callbacks: list[Any]) -> None:
        """A checkpoint between two fits: where the script is killed from here on, this fit is not trained again."""
        writer = self._session.writer
        if not self._session.is_saved:
            return
        assert self._recorder is not None
        if writer is not None and self._recorder.copy.is_large:
            writer.wait(_WRITE_SECONDS)  # else the ends of short fits pile up in memory
        # On every worker, although one of them writes: reading a metric takes all.
        arrays: Arrays = self._recorder.copy.take(keras_state.named_variables(run.model))
        state = {
            "callbacks": keras_state.callback_states(callbacks, arrays),
            "history": keras_state.callback_states([run.model.history], arrays),
            "random": values.encode(keras_random.capture(), arrays),
            "numBatches": run.iterator._num_batches,
            "epochs": run.epochs_ended,
            "steps": run.steps,
            "measured": run.measured,
        }
        if writer is None:
            return
        writer.keep(run.index, FinishedFit(state, arrays))
        files = self._session.capture_files()
        if files is None:
            return
        position = Position(run.index, max(0, run.epochs_ended - 1), 0, run.steps)
        number = self._session.steps_of_finished_fits + run.steps + run.index + 1
        writer.submit(Snapshot(number, position, True, {}, {}, files=files), run.index + 1)

    def _skip(self, run: FitRun, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Leaves the model, its History, the callbacks, the random numbers and the script's files as they were."""
        assert run.finished is not None
        state, arrays = run.finished.state, run.finished.arrays
        given = arguments.arguments.get("callbacks")
        callbacks = (
            given.callbacks if isinstance(given, keras.callbacks.CallbackList) else keras.tree.flatten(given or [])
        )
        first = arguments.arguments.get("initial_epoch", 0)
        one_epoch = {"callbacks": None, "verbose": 0, "epochs": first + 1, "validation_freq": first + 2}
        if state["epochs"]:
            arguments.arguments.update(one_epoch)
        original(*arguments.args, **arguments.kwargs)
        keras_state.load_variables(run.model, arrays)
        run.steps, run.measured = state["steps"], dict(state.get("measured", {}))
        history = keras.callbacks.History()
        history.set_model(run.model)
        keras_state.restore_callbacks([history], state["history"], arrays)
        run.model.history = history
        for callback in callbacks:
            callback.set_model(run.model)
        keras_state.restore_callbacks(_with_history(callbacks), state["callbacks"], arrays)
        keras_random.restore(values.decode(state["random"], arrays))
        self._session.files.put_back()
        self._tell_skipped(run)
        return history

    def _tell_skipped(self, run: FitRun) -> None:
        before = self._session.checkpoint
        assert before is not None
        if before.snapshot.between_fits and run.index == before.snapshot.position.fit:
            position = before.snapshot.position
            self._session.messages.send(
                "resume",
                fit=position.fit,
                epoch=position.epoch,
                step=position.step,
                exact=False if self._session.data_lost else None,
                message=self._session.data_lost
                or "the fit had finished: no step was trained again, nothing to compare",
            )


def _with_history(callbacks: list[Any]) -> list[Any]:
    """Keras would add its History after our callback, which must be the last one."""
    if any(isinstance(callback, keras.callbacks.History) for callback in callbacks):
        return callbacks
    return [*callbacks, keras.callbacks.History()]

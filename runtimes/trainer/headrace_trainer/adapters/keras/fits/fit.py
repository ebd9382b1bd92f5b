"""`fit` as the script calls it: an ordinary one, one that goes on in its middle, one that had finished and is skipped,
or one that an exception had ended and that is trained again up to there.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from headrace_trainer.adapters import values
from headrace_trainer.adapters.checkpoint import Arrays, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.keras.export.trial import Trials
from headrace_trainer.adapters.keras.fits import rows as keras_rows
from headrace_trainer.adapters.keras.fits.recorder import Recorder
from headrace_trainer.adapters.keras.loops.state import LOOP
from headrace_trainer.adapters.keras.models import weights as keras_weights
from headrace_trainer.adapters.keras.state import kept as keras_kept
from headrace_trainer.adapters.keras.state import random as keras_random
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.keras.state.held import Back
from headrace_trainer.adapters.session import FitRun, Session

_ENDED_BY = "endedBy"  # of a fit's end, where it is an exception


class Fits:
    """All fits of the script, one after another. One that begins in another thread while one is under way is not
    followed: its model was trained, and that is all that is known of it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run: FitRun | None = None
        self._recorder: Recorder | None = None
        self._steps_by_hand = 0
        self._trials = Trials(session)
        self._threads: set[int] = set()  # those that are in a fit
        self._followed: int | None = None  # the one whose fit is followed
        self._ending = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether a fit is under way: what is called inside of it belongs to it."""
        return bool(self._threads)

    @property
    def is_nested(self) -> bool:
        """Whether this thread is in a fit already."""
        return threading.get_ident() in self._threads

    @property
    def is_followed(self) -> bool:
        """Whether Keras trains now, by a fit or a train_on_batch, and not a loop of the script's own."""
        return self.is_running or self._steps_by_hand > 0

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
        is_here = self._followed == threading.get_ident()
        return self._run if is_here and self._run is not None and self._run.iterator is None else None

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
        here = threading.get_ident()
        with self._ending:
            is_parallel = self.is_running
            self._threads.add(here)
            if not is_parallel:
                self._followed = here
        try:
            if is_parallel:
                return self._fit_beside(original, arguments)
            return self._fit(original, arguments)
        finally:
            self._threads.discard(here)

    def _fit_beside(self, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Which of the two is the first is another one in each attempt: what is counted from here on says nothing."""
        if not self._session.has_parallel_fits:
            self._session.has_parallel_fits = True
            self._session.messages.warn("fit", "fits run in several threads at once: no checkpoints are taken any more")
        model = arguments.arguments["self"]
        before = _steps_of(model)
        try:
            return original(*arguments.args, **arguments.kwargs)
        finally:
            steps = _steps_of(model) - before
            if steps:
                with self._ending:
                    self._session.models.trained(model, "fit", {})
                    self._session.fit_steps += steps

    def _fit(self, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        self._session.loop.fit_begins()
        model = arguments.arguments["self"]
        run = self._next_run(model)
        run.initial_epoch = int(arguments.arguments.get("initial_epoch") or 0)
        self._run = run
        self._session.models.begin(model, lambda: run.steps)
        try:
            history = self._skip(run, original, arguments) if run.finished else self._train(run, original, arguments)
        except BaseException as error:  # the script may go on with what was trained
            self._keep_exception(run, error)
            if run.steps or run.measured:
                self._tell_models(run)
            raise
        else:
            self._tell_models(run)
            return history
        finally:
            self._session.fits += 1
            self._session.fit_steps += run.steps
            self._session.steps_of_finished_fits += run.steps
            # They know each other. An iterator that outlives its fit keeps its buffers, and its thread, which runs the
            # script's generator, hangs the end of the process.
            run.iterator = None
            self._run = None
            self._recorder = None
            model._initial_epoch = None
            self._session.stop.training_ends()

    def _tell_models(self, run: FitRun) -> None:
        models = self._session.models
        with self._ending:
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
            if kept is not None and _ENDED_BY in kept.state:
                return FitRun(index, model, None, None, ended_by=kept.state)
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
        if run.ended_by is None:
            self._keep_end(run)
        else:
            self._session.lose(f"{_how_it_ended(run, run.ended_by)}, and was not when it was trained again")
        return history

    def _keep_exception(self, run: FitRun, error: BaseException) -> None:
        """An exception cannot be raised again without what led to it: such a fit is trained again by the next attempt,
        from its own beginning, which is as it was. Whether it then ends in the same way is looked at.
        """
        if run.finished is not None:
            return
        ended = {_ENDED_BY: type(error).__name__, "steps": run.steps, "weights": keras_weights.print_of(run.model)}
        if run.ended_by is None:
            if self._session.writer is not None and self._session.is_saved:
                self._session.writer.keep(run.index, FinishedFit(ended, {}))
        elif ended != run.ended_by:
            again = f"by {ended[_ENDED_BY]} after {ended['steps']}"
            self._session.lose(f"{_how_it_ended(run, run.ended_by)}; trained again, it was {again}, with other weights")

    def _keep_end(self, run: FitRun) -> None:
        """Goes with all checkpoints to come. One is made of it at once where the interval is over, as a script of many
        short fits would make one after another. Until then it is saved where the script ends, or is stopped.
        """
        writer = self._session.writer
        if not self._session.is_saved:
            return
        assert self._recorder is not None
        if writer is not None:
            self._recorder.copy.wait_for(writer)
        # On every worker, although one of them writes: reading a metric takes all.
        kept = self._recorder.kept.take()
        arrays: Arrays = self._recorder.copy.take(keras_state.named_variables(run.model) | kept.variables)
        arrays.update(kept.arrays)
        state = {
            **kept.state,
            "history": keras_kept.callback_states([run.model.history], arrays),
            "random": values.encode(keras_random.capture(), arrays),
            "numBatches": run.iterator._num_batches,
            "epochs": run.epochs_ended,
            "steps": run.steps,
            "measured": run.measured,
        }
        if writer is None:
            return
        writer.keep(run.index, FinishedFit(state, arrays))
        if not self._session.mark_end(Position(run.index, max(0, run.epochs_ended - 1), 0, run.steps)):
            return
        now = time.monotonic()
        if self._session.is_checkpoint_due(now):
            self._session.last_checkpoint = now
            self._session.hand_over_end()

    def _skip(self, run: FitRun, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Leaves the model, its History, the callbacks, the random numbers and the script's files as they were."""
        assert run.finished is not None
        state, arrays = run.finished.state, run.finished.arrays
        given = arguments.arguments.get("callbacks")
        callbacks = (
            given.callbacks if isinstance(given, keras.callbacks.CallbackList) else keras.tree.flatten(given or [])
        )
        first = run.initial_epoch
        one_epoch = {"callbacks": None, "verbose": 0, "epochs": first + 1, "validation_freq": first + 2}
        if state["epochs"]:
            arguments.arguments.update(one_epoch)
        original(*arguments.args, **arguments.kwargs)
        if missing := keras_state.load_variables(run.model, arrays):
            self._session.lose(missing)
        run.steps, run.measured = state["steps"], dict(state.get("measured", {}))
        history = keras.callbacks.History()
        history.set_model(run.model)
        keras_kept.put_back([history], state["history"], Back(arrays))
        run.model.history = history
        for callback in callbacks:
            callback.set_model(run.model)
        kept = keras_kept.Kept(run.model, _with_history(callbacks), None)
        self._session.unkept += kept.put_back(state, arrays, with_variables=True)
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
                exact=False if self._session.lost else None,
                message=self._session.lost
                or keras_kept.sentence(self._session.unkept)
                or "the fit had finished: no step was trained again, nothing to compare",
            )


def _steps_of(model: Any) -> int:
    optimizer = getattr(model, "optimizer", None)  # one that was never compiled has no such attribute
    return 0 if optimizer is None else int(keras_state.steps_of(optimizer).numpy())


def _how_it_ended(run: FitRun, ended: dict[str, Any]) -> str:
    return f"fit {run.index} was ended by {ended[_ENDED_BY]} after {ended['steps']} steps"


def _with_history(callbacks: list[Any]) -> list[Any]:
    """Keras would add its History after our callback, which must be the last one."""
    if any(isinstance(callback, keras.callbacks.History) for callback in callbacks):
        return callbacks
    return [*callbacks, keras.callbacks.History()]

"""The callback that follows a fit: progress and metrics to the launcher, checkpoints in between, the comparison after
a resume.

It stands last in the list of callbacks, so that what it sees of the others is their state after the event. Which
steps are logged depends on the step's number alone, never on the clock: an interrupted run logs what an uninterrupted
one logs.

Keras hands each batch to its callbacks in another thread, as long as all of them allow that. A checkpoint has to be
taken between two steps: so batches do not come as callbacks here, but right after the list has been told of them
(`follow_callbacks`), in the thread that trains; what is not needed at a step costs it nothing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras.src.callbacks.callback_list import CallbackList
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter
from keras.src.utils.python_utils import pythonify_logs

from headrace_trainer.adapters import values
from headrace_trainer.adapters.checkpoint import Arrays, Position, Snapshot
from headrace_trainer.adapters.draws import may_draw
from headrace_trainer.adapters.keras.devices import workers as keras_workers
from headrace_trainer.adapters.keras.export.trial import Trial
from headrace_trainer.adapters.keras.fits.data import stages
from headrace_trainer.adapters.keras.fits.data_state import IteratorStates
from headrace_trainer.adapters.keras.models import weights as keras_weights
from headrace_trainer.adapters.keras.state import random as keras_random
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.keras.state.host_copy import HostCopy
from headrace_trainer.adapters.keras.state.kept import Kept, sentence
from headrace_trainer.adapters.messages import in_json, milliseconds
from headrace_trainer.adapters.pending import Pending
from headrace_trainer.adapters.replay import Replay, Verdict, previous_steps
from headrace_trainer.adapters.session import FitRun, Session

_LOGGED_STEPS = 500
PROGRESS_SECONDS = 2.0


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows one fit; `others` are the callbacks before it, `trial` the early one of the export that it waits for."""

    def __init__(self, session: Session, run: FitRun, others: Sequence[Any], trial: Trial | None) -> None:
        super().__init__()
        self._session = session
        self._run = run
        self._others = others
        self._trial = trial
        self._epoch = 0
        self._first_epoch: int | None = None
        self._epoch_began_at = 0
        self._batches = 0
        self._data_ended = False
        self._total: int | None = None
        self._last_progress = 0.0
        self._pending = Pending(session.writer, session.stop)
        self._last_logs: Any = {}
        self._logs_passed_over: dict[str, float] = {}
        self._replay: Replay | None = None
        self._next_vote = 1
        self._step_ended_at = 0.0
        self._step_seconds = 0.0
        self._metrics_before_test: Arrays = {}
        self._random_before_test: dict[str, Any] | None = None
        self._begin_epoch: Callable[[], None] | None = None
        self.copy = HostCopy()
        self.kept = Kept(run.model, others, run.resumed.state if run.resumed is not None else None)
        self._data_states = IteratorStates(session.settings.checkpoint_directory)

    @property
    def _workers(self) -> int:
        return self._session.settings.workers

    @property
    def _is_to_stop(self) -> bool:
        return self._session.stop.is_requested and not self._session.stop.is_left_to_script

    @property
    def _is_saved(self) -> bool:
        """What is trained again up to its exception is behind the checkpoint that there is."""
        return self._session.is_saved and self._run.ended_by is None

    @property
    def _here(self) -> Position:
        return Position(self._run.index, self._epoch, self._batches, self._step)

    @property
    def _step(self) -> int:
        return self._epoch_began_at + self._batches

    def on_train_begin(self, logs: Any = None) -> None:
        epochs, steps = self.params["epochs"], self.params["steps"]
        first = self._run.initial_epoch
        self._total = (epochs - first) * steps if steps and epochs > first else None
        if self._run.ended_by is None:
            begins = {"firstEpoch": first} if first else {}
            self._session.messages.send("fit", fit=self._run.index, epochs=epochs, stepsPerEpoch=steps, **begins)
        snapshot = self._run.resumed
        if self._is_saved:
            self.kept.begin()
        if snapshot is not None:
            position = snapshot.position
            self.kept.put_back(snapshot.state, snapshot.arrays, with_variables=False)
            self._first_epoch = snapshot.state["firstEpoch"]
            self._run.measured = dict(snapshot.state.get("measured", {}))
            self._epoch_began_at = position.step - position.batches
            # Keras' own way to begin at another epoch; 0 would be its "not set".
            self.model._initial_epoch = position.epoch or None
        self._session.is_checkpoint_due(time.monotonic())  # the first interval begins here
        self._session.stop.training_begins(self._pending.hand_over)

    def defers(self, begin_epoch: Callable[[], None]) -> bool:
        """Whether the callbacks are told later that an epoch begins: what they do to the model then came after the
        checkpoint of the epoch before, and must not be overwritten by it.
        """
        resumed = self._run.resumed
        if resumed is None or resumed.position.batches:
            return False
        self._begin_epoch = begin_epoch
        return True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._first_epoch is None:
            self._first_epoch = epoch
        self._epoch = epoch
        self._batches = 0
        self._data_ended = False
        if not self._step_ended_at:
            self._exit_if_asked()

    def resume(self) -> None:
        """Puts the checkpoint into the model, and the script's files in their places; called when the data stands at
        the checkpoint's position.
        """
        snapshot = self._run.resumed
        assert snapshot is not None
        if missing := keras_state.load_variables(self.model, snapshot.arrays):
            self._session.lose(missing)
        if snapshot.position.batches == 0:
            # Taken after the epoch before had ended; this one begins with empty metrics.
            self.model.reset_metrics()
        else:
            self._last_logs = self._logs_passed_over = snapshot.state.get("logs", {})
        # They may have been told that the epoch begins, which in the checkpoint is long ago.
        unkept = [*self._session.unkept, *self.kept.put_back(snapshot.state, snapshot.arrays, with_variables=True)]
        doubt = self._put_back_random(snapshot)
        self._session.files.put_back()
        self._batches = snapshot.position.batches
        self._run.steps = self._step
        self._run.resumed = None
        self._resumed_from = snapshot.position
        if self._begin_epoch is not None:
            self._begin_epoch()
            self._begin_epoch = None
        if lost := self._session.lost:
            self._send_resume(snapshot.position, Verdict(False, lost))
            return
        expected = dict(snapshot.replay)
        logged = self._session.settings.previous_steps_file
        if logged is not None:
            expected = previous_steps(logged, self._run.index, snapshot.position.step) | expected
        doubt = doubt or sentence(unkept)
        if tables := keras_state.unkept(self.model):
            doubt = f"{', '.join(tables)} of the model began anew"
        self._replay = Replay(snapshot.position.step, expected, doubt)
        self._send_resume(snapshot.position, self._replay.verdict_so_far())

    def _put_back_random(self, snapshot: Snapshot) -> str:
        """Callbacks draw, too. What is not known of it: data that draws from the same generators has brought them to
        where they are, perhaps some batches ahead; that must not be undone.
        """
        encoded = snapshot.state.get("random")
        if encoded is None:
            return ""
        random = values.decode(encoded, snapshot.arrays)
        if not self._run.data_drew:
            keras_random.restore(random)
            return ""
        keras_random.restore_frameworks(random)
        is_certain = keras_random.of_python() == keras_random.of_python_in(random)
        if is_certain or not any(may_draw(callback) for callback in self._others):
            return ""
        return "the data and a callback draw from the same random generators"

    def logs_passed_over(self) -> dict[str, float]:
        """What the last step of a resumed epoch had returned, where no step of it was left to train; once."""
        logs, self._logs_passed_over = self._logs_passed_over, {}
        return logs

    def has_trained(self, batch: int) -> None:
        """A step has ended; a callback may be about to end the fit in it."""
        steps = self.params["steps"]
        self._run.steps = self._epoch_began_at + (min(batch + 1, steps) if steps else batch + 1)

    def after_train_batch(self, callbacks: Any, batch: int, logs: Any) -> None:
        """A step has ended; `callbacks` may still be busy with it."""
        before = self._step
        self._last_logs, self._logs_passed_over = logs, {}
        self._batches = batch + 1 if not self.params["steps"] else min(batch + 1, self.params["steps"])
        step = self._run.steps = self._step
        if self._session.has_parallel_fits:
            self._pending.drop()
        now = time.monotonic()
        # The first step of a process traces the model: it says nothing about the speed.
        self._step_seconds = now - self._step_ended_at if self._step_ended_at else 0.0
        if not self._step_ended_at and self._is_saved:
            self.copy.prepare(keras_state.named_variables(self.model))
            self.kept.first_step_ended()
        self._step_ended_at = now
        logs_step = is_logged(before, step, self._total) and self._run.ended_by is None
        is_replayed = self._replay is not None and self._replay.expects(step)
        is_progress = now - self._last_progress >= PROGRESS_SECONDS
        if logs_step or is_replayed or is_progress or self._pending.is_there:
            metrics = numbers_of(logs)
            if logs_step or is_progress:
                self._last_progress = now
                self._send("step" if logs_step else "progress", metrics)
            if is_replayed:
                assert self._replay is not None
                self._send_resume(self._resumed_from, self._replay.compare(step, metrics))
            if self._pending.complete(step, metrics):
                self._submit()
        if self._workers > 1:
            self._vote_after_step(callbacks)
        elif not self._pending.is_there and self._is_due(now) and not self._ends_epoch():
            callbacks._flush_futures()
            self._take(self._here, {})
        if self._trial is not None and self._trial.is_due(step, self._total):
            callbacks._flush_futures()
            self._trial.make()
            self._step_ended_at = time.monotonic()

    def on_test_begin(self, logs: Any = None) -> None:
        self._data_ended = True
        # A validation changes no weight, but it uses the metrics' variables.
        if self._session.writer is not None and self._workers == 1:
            self._metrics_before_test = keras_state.copy_metrics(self.model)
            self._random_before_test = keras_random.capture()
        if self._workers == 1 or not self._session.stop.is_requested:
            self._submit()

    def after_test_batch(self, callbacks: Any) -> None:
        """A step of a validation inside of the fit has ended."""
        if self._is_to_stop and self._workers == 1:
            callbacks._flush_futures()
            self._take(self._here, self._metrics_before_test, self._random_before_test)
            self._submit()

    def epoch_is_ending(self, logs: Any) -> None:
        """What was measured is of the weights that the model has now: another callback may be about to change them."""
        numbers = numbers_of(logs)
        scores = numbers | {f"epoch/{name}": value for name, value in numbers.items() if not name.startswith("val_")}
        weights = keras_weights.print_of(self.model)
        self._run.measured.pop(weights, None)  # the last one is the last in order
        self._run.measured[weights] = scores

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._send("epoch", numbers_of(logs))
        self._epoch_began_at = self._step
        self._batches = 0
        self._data_ended = False
        self._epoch = epoch + 1
        self._run.steps = self._step
        self._run.epochs_ended = epoch + 1 - (self._first_epoch or 0)
        is_last = self.model.stop_training or epoch + 1 >= self.params["epochs"]
        if is_last:
            return
        if self._workers > 1:
            self._vote(0.0)
        elif not self._pending.is_there and self._is_due(time.monotonic()):
            self._take(self._here, {})

    def on_train_end(self, logs: Any = None) -> None:
        if self._replay is not None and self._replay.expected:
            self._send_resume(self._resumed_from, self._replay.verdict_so_far())
        self._run.steps = self._step
        if not self._session.stop.is_requested:
            self._pending.drop()  # the end of the fit is kept instead, in its memory
        if self._run.ended_by is None:
            self._session.messages.send("fitEnd", fit=self._run.index, metrics=in_json(numbers_of(logs)))

    def _is_due(self, now: float) -> bool:
        if self._is_to_stop and self._workers == 1:
            return True
        writer = self._session.writer
        is_due = self._session.is_checkpoint_due(now)
        can_take = writer is not None and not writer.is_busy and self.copy.is_ready and self._is_saved
        return can_take and is_due

    def _vote_after_step(self, callbacks: Any) -> None:
        if self._step >= self._next_vote and not self._ends_epoch():
            callbacks._flush_futures()
            self._next_vote = self._step + self._vote(self._step_seconds)

    def _vote(self, seconds: float) -> int:
        due = not self._pending.is_there and self._is_due(time.monotonic())
        outcome = keras_workers.vote(self._session.stop.is_requested, due, seconds)
        self._session.stop.is_requested |= outcome.stop
        if outcome.save or outcome.stop:
            self._take(self._here, {})
        if outcome.stop:
            # A step more for the comparison would wait for workers that are gone.
            self._submit()
        return outcome.steps_to_next_vote

    def _ends_epoch(self) -> bool:
        """At the last batch of an epoch a checkpoint waits for its end, which makes a simpler one."""
        at_end = bool(self._batches == self.params["steps"])
        return at_end and (self._workers > 1 or not self._session.stop.is_requested)

    def _take(self, position: Position, overriding: Arrays, random: dict[str, Any] | None = None) -> None:
        """Copies everything to memory; it is written when the steps after it are known, too. One that is to stop
        trains these steps for that, and where they do not come in time goes without.
        """
        writer = self._session.writer
        if writer is not None and writer.is_busy and self._workers == 1:
            return None  # asked to stop: there is memory for one copy, and the one before is about to be kept
        self._session.last_checkpoint = time.monotonic()
        if not self._is_saved:
            return self._exit_if_asked()
        self._pending.take(lambda: self._snapshot(position, overriding, random), self._run.index)
        return None

    def _snapshot(self, position: Position, overriding: Arrays, random: dict[str, Any] | None) -> Snapshot | None:
        files = self._session.capture_files()
        # On every worker, although one of them writes: reading a metric takes all.
        kept = self.kept.take()
        arrays = self.copy.take(keras_state.named_variables(self.model) | kept.variables)
        arrays.update(kept.arrays)
        arrays.update(overriding)
        arrays.update(self._state_of_data())
        state = {
            **kept.state,
            "random": values.encode(random or keras_random.capture(), arrays),
            "numBatches": self._run.iterator._num_batches,
            "firstEpoch": self._first_epoch,
            "dataEnded": self._data_ended,
            "logs": numbers_of(self._last_logs) if position.batches else {},
            "measured": dict(self._run.measured),
        }
        number = self._session.steps_of_finished_fits + self._run.index + position.step
        return None if files is None else Snapshot(number, position, False, state, arrays, files=files)

    def _submit(self) -> None:
        self._pending.hand_over()
        self._session.stop.exit_if_asked()

    def _state_of_data(self) -> dict[str, Any]:
        """Where data is gone through again it is not needed; nor is it for arrays, nor at an epoch's end, unless the
        same iterator goes on.
        """
        iterator = self._run.iterator
        if self._session.settings.replay_seconds or not (self._batches or iterator.steps_per_epoch):
            return {}
        if not isinstance(iterator.data_adapter, TFDatasetAdapter):
            return {}
        return self._data_states.saved(iterator._headrace_batches(), stages(iterator.data_adapter))

    def _exit_if_asked(self) -> None:
        if self._is_to_stop and self._workers == 1:
            self._submit()

    def _send(self, kind: str, metrics: Mapping[str, float]) -> None:
        if self._run.ended_by is not None:  # its metrics have been told
            self._session.messages.send("replay", fit=self._run.index, epoch=self._epoch, step=self._step)
            return
        self._session.messages.send(
            kind,
            fit=self._run.index,
            epoch=self._epoch,
            step=self._step,
            time=milliseconds(),
            metrics=in_json(metrics),
        )

    def _send_resume(self, position: Position, verdict: Verdict | None) -> None:
        if verdict is not None:
            self._session.messages.send(
                "resume",
                fit=position.fit,
                epoch=position.epoch,
                step=position.step,
                exact=verdict.exact,
                message=verdict.message,
            )


def follow_callbacks() -> None:
    """From here on a Recorder in a list of callbacks hears of a batch after the list did, in the training's thread, and
    of the end of an epoch before the list does.
    """
    after_train, after_test = CallbackList.on_train_batch_end, CallbackList.on_test_batch_end
    at_epoch_begin, at_epoch_end = CallbackList.on_epoch_begin, CallbackList.on_epoch_end

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        for recorder in _recorders(self):
            recorder.has_trained(batch)
        after_train(self, batch, logs)
        for recorder in _recorders(self):
            recorder.after_train_batch(self, batch, logs)

    def on_test_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        after_test(self, batch, logs)
        for recorder in _recorders(self):
            recorder.after_test_batch(self)

    def on_epoch_begin(self: Any, epoch: int, logs: Any = None) -> None:
        begin = functools.partial(at_epoch_begin, self, epoch, logs)
        if not any(recorder.defers(begin) for recorder in _recorders(self)):
            begin()

    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        for recorder in _recorders(self):
            recorder.epoch_is_ending(logs)
        at_epoch_end(self, epoch, logs)

    CallbackList.on_epoch_begin = on_epoch_begin
    CallbackList.on_epoch_end = on_epoch_end
    CallbackList.on_train_batch_end = on_train_batch_end
    CallbackList.on_test_batch_end = on_test_batch_end


def _recorders(callbacks: Any) -> list[Recorder]:
    return [callback for callback in callbacks.callbacks if isinstance(callback, Recorder)]


def numbers_of(logs: Any) -> dict[str, float]:
    """The scalars of Keras' logs; reading them waits for the device."""
    return {name: float(value) for name, value in pythonify_logs(logs or {}).items() if isinstance(value, int | float)}


def is_logged(before: int, step: int, total: int | None) -> bool:
    """Whether a multiple of the stride lies in (before, step]. Without a total, the stride doubles as it goes on."""
    stride = 1 << max(0, (step // _LOGGED_STEPS).bit_length() - 1) if total is None else max(1, total // _LOGGED_STEPS)
    return step // stride > before // stride

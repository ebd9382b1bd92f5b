"""Loops of the script's own, which train without `fit`: each use of an optimizer, each call of a tf.function in which
one is used, and each `train_on_batch` is seen (loop_hooks). A loop goes from the first of them to the next fit, or to
the script's end, and counts as a fit.

A step is a round of such uses: a GAN uses two optimizers by turns, and one round of both is a step. What the last use
of a round was shows in the second one; between two rounds nothing is half done: there, in the thread that trains,
checkpoints are taken, and the process is ended.

In the next attempt the script runs from its beginning. The state is put back as soon as all that it is of has been
made: when the script asks where to begin (`headrace_client.resumed_step`), at the first gradient, or after the first
use. A script that does not ask goes through its whole loop once more with weights that are trained already, which is
told, and is never called exact (decision 0024).
"""

from __future__ import annotations

import time
import weakref
from typing import Any

from headrace_trainer.adapters import values
from headrace_trainer.adapters.checkpoint import Arrays, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.keras import loop_metrics
from headrace_trainer.adapters.keras import random as keras_random
from headrace_trainer.adapters.keras import state as keras_state
from headrace_trainer.adapters.keras.host_copy import HostCopy
from headrace_trainer.adapters.keras.loop_state import LOOP, Earlier, LoopState, earlier
from headrace_trainer.adapters.keras.recorder import PROGRESS_SECONDS, is_logged
from headrace_trainer.adapters.messages import in_json, milliseconds
from headrace_trainer.adapters.pending import Pending
from headrace_trainer.adapters.replay import Replay, Verdict, previous_steps
from headrace_trainer.adapters.session import Session

# How long the end of a loop waits until the checkpoint before is written.
_WRITE_SECONDS = 60.0
_ASK = "let it begin at headrace_client.resumed_step()"


class Loops:
    """All loops of one script, one after another. Of the script's main thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked = False
        self._restored: Earlier | None = None
        self._random_of: int | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.loop = object()  # which one is under way
        self._is_active = False
        self._state = LoopState()
        self._step = 0
        # Held weakly, as all that is trained: what the script lets go of is gone.
        self._round: list[weakref.ref[Any]] = []
        self._last_of_round: weakref.ref[Any] | None = None
        self._last_before = ""  # its name in an earlier attempt: what ends the first round of this one
        self._results: dict[int, Any] = {}
        self._told_at = 0
        self._last_progress = 0.0
        self._last_snapshot = time.monotonic()
        self._looks_for_state = False
        self._replay: Replay | None = None
        self._pending = Pending(self._session.writer, self._session.stop)
        self._copy = HostCopy()
        self._is_prepared = False

    # --- what is asked ---

    @property
    def awaits_state(self) -> bool:
        """Whether the state of the loop that is next, or under way, has not been put back yet. One that had ended, and
        does not ask, is trained again as it was.
        """
        before = self._earlier()
        return before is not None and before.index == self._session.fits and (self._asked or not before.is_finished)

    @property
    def awaits_any_state(self) -> bool:
        """Whether there is the state of a loop that is to come."""
        return self._earlier() is not None

    def resumed_step(self) -> int:
        """The step after which the next loop goes on. Its state is put back, if all that it is of has been made."""
        asks_again, self._asked = self._asked, True
        if self._restored is not None and self._restored.index == self._session.fits:
            if not asks_again:
                self._tell_resume(self._restored)
            return self._restored.step
        before = self._earlier()
        if before is None:
            return 0
        if before.index == self._session.fits and not self.put_back():
            self._put_back_random(before)
        return before.step

    # --- what happens ---

    def knows(self, optimizer: Any) -> bool:
        """Whether it has been used in the loop that is under way."""
        return self._is_active and self._state.knows(optimizer)

    def uses(self, optimizer: Any, models: list[Any], variables: list[Any]) -> None:
        """An optimizer that is not known is about to be used, perhaps while a function is traced."""
        if not self._is_active:
            self._begin()
        self._state.add(optimizer, models, variables)
        self._looks_for_state = True

    def used(self, what: Any, steps: int, result: Any) -> None:
        """It was used: `what` is an optimizer, a model or a function, which has trained so many steps."""
        if len(self._round) == 1 and self._round[0]() is what:  # as nearly always: what follows, made cheap
            self._last_of_round = self._round[0]
            self._step += steps
        else:
            if not self._round or any(one() is what for one in self._round):
                self._last_of_round = self._round[-1] if self._round else None
                self._round = []
                self._step += steps
            self._round.append(weakref.ref(what))
        self._results[id(what)] = result
        if self._ends_round(what):
            self._between_steps()
            self._results.clear()

    def corrected(self, steps: int) -> None:
        """There were more steps in a call than was known when it was told."""
        self._step += steps

    def looks_for_state(self) -> bool:
        """After a use: whether the state was put back right now, so that what was trained just now does not count."""
        if not self._looks_for_state:
            return False
        self._looks_for_state = False
        if not self.awaits_state:
            return False
        if self.put_back():
            return True
        before = self._earlier()
        assert before is not None
        self._send_resume(before, Verdict(False, "what its state was kept of has not been made so far: it begins anew"))
        return False

    def put_back(self) -> bool:
        """Puts the state back, if all that it is of has been made."""
        before = self._earlier()
        assert before is not None
        models = self._state.put_back(before)
        if models is None:
            return False
        if not self._is_active:
            self._begin()
        self._restored, self._step, self._round, self._told_at = before, before.step, [], before.step
        for model in models:
            self._session.models.trained_by_hand(model, "a loop of the script's own")
        if self._asked:
            self._put_back_random(before)
        self._session.files.put_back()
        self._last_before = before.state["last"]
        if not before.is_finished:
            self._session.checkpoint = None
        self._tell_resume(before)
        return True

    def fit_begins(self) -> None:
        """The loop before it, if there was one, is over; one that was over in an earlier attempt may have been passed
        over.
        """
        while not self._is_active:
            before = self._earlier()
            if before is None or before.index != self._session.fits:
                break
            if not (self.awaits_state and self.put_back()):
                self._session.lose("the state of a loop that is passed over could not be put back")
                self._session.fits += 1
                self._session.steps_of_finished_fits += before.step
                if not before.is_finished:
                    self._session.checkpoint = None
        if self._is_active:
            self._keep_end()
            self._session.fits += 1
            self._session.steps_of_finished_fits += self._step
            self._begin_anew()

    def save_now(self) -> None:
        """Asked by the script, and so between two of its steps."""
        if not self._is_active or self._session.settings.workers > 1:
            return
        if not self._pending.is_there and self._session.writer is not None and self._session.is_saved:
            self._take()
        self._pending.hand_over()

    def script_ends(self) -> None:
        """What comes now is no training."""
        if self._is_active:
            if self._replay is not None and self._replay.expected:
                self._send_verdict(self._replay.verdict_so_far())
            self._is_active = False
            self._session.stop.training_ends()

    # --- how it is done ---

    def _put_back_random(self, before: Earlier) -> None:
        """Once: the script has drawn its first batch when what is left of its state can be put back."""
        if self._random_of != before.index:
            self._random_of = before.index
            keras_random.restore(values.decode(before.state["random"], before.arrays))

    def _earlier(self) -> Earlier | None:
        """The next loop of the attempt before that has not been put back."""
        if self._session.keeps_own:
            return None
        found = earlier(self._session.checkpoint, self._session.fits)
        is_done = found is not None and self._restored is not None and found.index == self._restored.index
        return None if is_done else found

    def _ends_round(self, what: Any) -> bool:
        if self._last_of_round is None:
            return bool(self._last_before) and loop_metrics.name_of(what) == self._last_before
        return self._last_of_round() is what

    def _begin(self) -> None:
        self._is_active = True
        self._last_snapshot = time.monotonic()
        self._session.messages.send("fit", fit=self._session.fits, epochs=1, stepsPerEpoch=None)
        if self._session.settings.workers == 1:
            self._session.stop.training_begins(self._pending.hand_over)

    def _between_steps(self) -> None:
        now, step = time.monotonic(), self._step
        logs = is_logged(self._told_at, step, None)
        compares = self._replay is not None and self._replay.expects(step)
        shows = now - self._last_progress >= PROGRESS_SECONDS
        self._told_at = step
        if logs or compares or shows or self._pending.is_there:
            used = [one for reference in self._round if (one := reference()) is not None]
            metrics = loop_metrics.read(used, self._results)
            if logs or shows:
                self._last_progress = now
                self._send("step" if logs else "progress", metrics)
            if compares and self._replay is not None:
                self._send_verdict(self._replay.compare(step, metrics))
            if self._pending.complete(step, metrics):
                self._pending.hand_over()
                self._session.stop.exit_if_asked()
        if self._is_due(now):
            self._take()

    def _is_due(self, now: float) -> bool:
        session = self._session
        if self._pending.is_there or session.settings.workers > 1:
            return False
        if session.stop.is_requested and not session.stop.is_left_to_script:
            return True
        if session.writer is None or not session.is_saved or not self._is_ready():
            return False
        return now - self._last_snapshot >= session.settings.checkpoint_interval_seconds

    def _is_ready(self) -> bool:
        assert self._session.writer is not None
        if not self._is_prepared:
            self._is_prepared = True
            self._copy.prepare(keras_state.named(self._state.variables()))
        return self._copy.is_ready and not self._session.writer.is_busy

    def _take(self) -> None:
        self._last_snapshot = time.monotonic()
        if self._session.writer is None or not self._session.is_saved:
            self._session.stop.exit_if_asked()
        elif not self._session.writer.is_busy:  # else, asked to stop: the one that is being written is the last
            self._pending.take(self._snapshot, self._session.fits)

    def _snapshot(self) -> Snapshot | None:
        files = self._session.capture_files()
        state, arrays = self._captured()
        position = Position(self._session.fits, 0, self._step, self._step)
        number = self._session.steps_of_finished_fits + self._session.fits + self._step
        return None if files is None else Snapshot(number, position, False, state, arrays, files=files)

    def _captured(self) -> tuple[dict[str, Any], Arrays]:
        arrays = self._copy.take(keras_state.named(self._state.variables()))
        random = values.encode(keras_random.capture(), arrays)
        last = self._round[-1]() if self._round else None
        name = "" if last is None else loop_metrics.name_of(last)
        return {LOOP: self._state.described(), "random": random, "steps": self._step, "last": name}, arrays

    def _keep_end(self) -> None:
        """Where the script is killed later on, and asks, this loop is not trained again."""
        writer = self._session.writer
        self._pending.drop()
        if writer is None or not self._session.is_saved or self._session.settings.workers > 1:
            return
        if self._copy.is_large:
            writer.wait(_WRITE_SECONDS)  # else the ends of short loops pile up in memory
        writer.keep(self._session.fits, FinishedFit(*self._captured()))

    # --- what is said ---

    def _tell_resume(self, before: Earlier) -> None:
        place = f"the loop goes on after step {before.step}, as it asked"
        if not self._asked:
            told = (
                f"the script's own loop does not know that it is resumed: with the weights of step {before.step} it "
                f"runs from its beginning; {_ASK}"
            )
            self._session.messages.warn("resume", told)
            self._send_resume(before, Verdict(False, "not exact: the loop does not know of the resume"))
            return
        if before.is_finished:
            self._send_resume(before, Verdict(None, f"{place}; it had ended: nothing to compare"))
            return
        logged = self._session.settings.previous_steps_file
        expected = {step: metrics for step, metrics in before.replay.items() if metrics}
        if logged is not None:
            expected = previous_steps(logged, before.index, before.step) | expected
        self._replay = Replay(before.step, expected)
        self._send_resume(before, Verdict(False, f"{place}; its data are its own, and no step could be compared yet"))

    def _send_verdict(self, verdict: Verdict | None) -> None:
        if verdict is not None and verdict.exact is not None and self._restored is not None:
            self._send_resume(self._restored, verdict)

    def _send_resume(self, before: Earlier, verdict: Verdict) -> None:
        if self._session.lost and verdict.exact is not False:
            verdict = Verdict(False, self._session.lost)
        self._session.messages.send(
            "resume", fit=before.index, epoch=0, step=before.step, exact=verdict.exact, message=verdict.message
        )

    def _send(self, kind: str, metrics: dict[str, float]) -> None:
        self._session.messages.send(
            kind, fit=self._session.fits, epoch=0, step=self._step, time=milliseconds(), metrics=in_json(metrics)
        )

"""Loops of the script's own, which train without `fit`: each use of an optimizer, each call of a tf.function in which
one is used, and each `train_on_batch` is seen (loop_hooks). A loop goes from the first of them, or from where the
script asks for it, to the next loop that is asked for, to the next fit, or to the script's end. It counts as a fit.

A step is one iteration of `headrace_client.steps`. In a loop that does not use it, it is a round of uses: a GAN uses
two optimizers by turns, and one round of both is a step (loop_counts). What the last use of a round was shows in the
second one. Between two steps nothing is half done: there, in the thread that trains, checkpoints are taken, and the
process is ended.

In the next attempt the script runs from its beginning. The state is put back as soon as all that it is of has been
made: where the script asks where to begin, at the first gradient, or after the first use. A script that does not ask
goes through its whole loop once more with weights that are trained already, which is told, and is never called exact
(decisions 0024, 0026).
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from enum import Enum
from typing import Any

from headrace_trainer.adapters import values
from headrace_trainer.adapters.checkpoint import Arrays, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.keras import loop_metrics
from headrace_trainer.adapters.keras import random as keras_random
from headrace_trainer.adapters.keras.host_copy import HostCopy
from headrace_trainer.adapters.keras.loop_counts import Rounds, Steps
from headrace_trainer.adapters.keras.loop_others import Others
from headrace_trainer.adapters.keras.loop_resume import LoopResume
from headrace_trainer.adapters.keras.loop_state import LOOP, Earlier, LoopState, NotThere, earlier
from headrace_trainer.adapters.keras.recorder import PROGRESS_SECONDS, is_logged
from headrace_trainer.adapters.messages import in_json, milliseconds
from headrace_trainer.adapters.pending import Pending
from headrace_trainer.adapters.session import Session

# How long the end of a loop waits until the checkpoint before is written.
_WRITE_SECONDS = 60.0


class How(Enum):
    """In what way a loop asks where to begin."""

    NOT = "not"
    ASKS = "resumedStep"
    COUNTS = "steps"


class Counted:
    """A loop of `headrace_client.steps`, and its iteration that is under way."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used: list[weakref.ref[Any]] = []
        self.is_to_repeat = False  # the state came in the middle of it

    def uses(self, what: Any) -> None:
        if not any(one() is what for one in self.used):
            self.used.append(weakref.ref(what))


class Loops:
    """All loops of one script, one after another. Of the script's main thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._resume = LoopResume(session)
        self._restored: Earlier | None = None
        self._random_of: int | None = None
        self._is_told_to_stop = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.loop = object()  # which one is under way
        self._is_active = False
        self._state = LoopState()
        self._others: Others | None = None
        self._how = How.NOT
        self._asks = 0
        self._counted: Counted | None = None
        self._has_used = False
        self._step = 0
        self._rounds, self._steps = Rounds(), Steps()
        self._rounds_before = 0  # that were alike in an earlier attempt
        self._last_before = ""  # what ended a round there, which ends the first one of this one
        self._results: dict[int, Any] = {}
        self._told_at = 0
        self._last_progress = 0.0
        self._last_snapshot = time.monotonic()
        self._looks_for_state = False
        self._has_new_optimizer = False
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
        if before is None or before.index != self._session.fits:
            return False
        return self._how is not How.NOT or not before.is_finished

    @property
    def awaits_any_state(self) -> bool:
        """Whether there is the state of a loop that is to come."""
        return self._earlier() is not None

    def resumed_step(self) -> int:
        """The step after which the next loop goes on. Its state is put back, if all that it is of has been made."""
        if self._counted is not None:
            return 0  # in an iteration, which is what counts
        self._pass_on_where_asked_again()
        self._how, self._asks = How.ASKS, self._asks + 1
        if self._is_active:  # its state is there
            assert self._restored is not None
            if self._asks == 1:
                self._tell_resume(self._restored)
            return self._answer(self._restored)
        before = self._earlier()
        if before is None:
            return 0
        if before.index == self._session.fits and not self._goes_on(before):
            return 0
        return self._answer(before)

    def steps(self, start: int, stop: int) -> Iterator[int]:
        """The script's own count of its iterations."""
        if self._counted is not None or threading.current_thread() is not threading.main_thread():
            yield from range(start, stop)  # a part of an iteration
            return
        total = max(0, stop - start)
        done = self._begin_counted(total)
        counted = self._counted
        try:
            while done < total:
                yield start + done
                done = self._after_iteration(counted, done)
        except GeneratorExit:
            self._break_off(counted)
            raise
        if counted is self._counted:
            self._end_counted()

    # --- what happens ---

    def knows(self, optimizer: Any) -> bool:
        """Whether it has been used in the loop that is under way."""
        return self._is_active and self._state.knows(optimizer)

    def uses(self, optimizer: Any, models: list[Any], variables: list[Any]) -> None:
        """An optimizer that is not known is about to be used, perhaps while a function is traced."""
        if not self._is_active:
            self._begin()
        self._state.add(optimizer, models, variables)
        self._looks_for_state = self._has_new_optimizer = True

    def used(self, what: Any, steps: int, result: Any) -> None:
        """It was used: `what` is an optimizer, a model or a function, which has trained so many steps."""
        if not self._has_used:
            self._note_first_use()
        self._results[id(what)] = result
        if self._counted is not None:
            self._counted.uses(what)
            return
        if self._rounds.used(what):
            self._step += steps
        if self._ends_round(what):
            self._between_steps(self._rounds.current)
            self._results.clear()

    def corrected(self, steps: int) -> None:
        """There were more steps in a call than was known when it was told."""
        self._rounds.several_in_a_call()
        if self._counted is None:
            self._step += steps

    def looks_for_state(self) -> bool:
        """After a use: whether the state was put back right now, so that what was trained just now does not count."""
        if not self._looks_for_state:
            return False
        self._looks_for_state = False
        if not self.awaits_state:
            return False
        before = self._earlier()
        assert before is not None
        missing = self._put_back(before)
        if missing is None:
            if self._counted is None:
                return True
            self._counted.is_to_repeat = True
        elif self._counted is not None and missing.is_to_come:
            self._looks_for_state = True  # until the iteration ends
        else:
            self._give_up(before, f"{missing.what} has not been made so far")
        return False

    def put_back(self) -> bool:
        """Puts the state back, if all that it is of has been made."""
        before = self._earlier()
        assert before is not None
        return self._put_back(before) is None

    def fit_begins(self) -> None:
        """The loop before it, if there was one, is over; one that was over in an earlier attempt may have been passed
        over.
        """
        is_resumed = self._restored is not None and self._restored.index == self._session.fits
        if self._counted is not None and not self._has_used and not is_resumed:
            # An iteration is a fit, or has some: they are followed themselves.
            self._pending.drop()
            self._begin_anew()
            return
        while not self._is_active:
            before = self._earlier()
            if before is None or before.index != self._session.fits:
                break
            if not (self.awaits_state and self.put_back()):
                self._pass_over(before)
        if self._is_active:
            is_cut = self._counted is not None
            if is_cut:
                told = "a fit in an iteration that also trains by hand: the iterations of this loop cannot be resumed"
                self._session.messages.warn("steps", told)
            self._end({"cut": is_cut})

    def save_now(self) -> None:
        """Asked by the script, and so between two of its steps."""
        if not self._is_active or self._session.settings.workers > 1:
            return
        self._is_told_to_stop = True
        if self._counted is None:  # else it is known whether an iteration has ended
            self._save()

    def script_ends(self) -> None:
        """What comes now is no training."""
        if self._is_active:
            self._resume.loop_ends()
            self._is_active = False
            self._session.stop.training_ends()

    # --- loops that count ---

    def _begin_counted(self, total: int) -> int:
        """A loop begins; how many of its iterations are done."""
        if self._is_active:
            self._end({})
        self._begin_anew()
        self._how, self._counted = How.COUNTS, Counted(total)
        before = self._earlier()
        done = 0
        if before is not None and before.index == self._session.fits and self._goes_on(before):
            done = total if before.is_finished else before.step
        if not self._is_active:
            self._begin()
        self._step = self._told_at = done
        return done

    def _after_iteration(self, counted: Counted | None, done: int) -> int:
        """Between two iterations; how many are done."""
        if counted is None or counted is not self._counted:
            return done + 1
        if counted.is_to_repeat and self._restored is not None:
            counted.is_to_repeat, self._random_of = False, None
            self._state.put_back(self._restored)
            self._put_back_random(self._restored)
            done = self._restored.step
        elif counted.used and self._looks_for_state and self.awaits_state:
            before = self._earlier()
            assert before is not None
            self._give_up(before, "what its state is of was not made in its first iteration")
            done = 0
        else:
            done = self._step = done + 1
            self._between_steps(counted.used)
        self._step = done
        counted.used = []
        self._results.clear()
        return done

    def _end_counted(self) -> None:
        """Its last iteration has ended. That is saved as the end of a fit is: what follows may take its time."""
        self._resume.loop_ends()
        self._is_told_to_stop = False  # and has not left it for that
        if not self._was_passed_over:
            self._keep_end({})
            self._mark_end()
        self._pass_on()

    def _break_off(self, counted: Counted | None) -> None:
        """The script has left its loop: where it was told to stop, to go on with it later."""
        if counted is None or counted is not self._counted:
            return
        if not (self._is_told_to_stop and self._session.stop.is_requested):
            self._end({})  # whether that is an exception which ends the script is not known: it is not saved by itself
            return
        self._step += bool(counted.used)
        if self._step:
            self._save()
        self._session.writer = None  # what comes now would be saved as if the loop had ended
        self._session.fits += 1
        self._begin_anew()

    # --- how it goes on ---

    @property
    def _was_passed_over(self) -> bool:
        restored = self._restored
        is_it = restored is not None and restored.index == self._session.fits and restored.is_finished
        return is_it and not self._has_used

    def _pass_on_where_asked_again(self) -> None:
        """The script asks for its next loop: it has trained in the one before, or has found nothing left to do."""
        before = self._restored if self._is_active else self._earlier()
        is_its = before is not None and before.index == self._session.fits
        nothing_left = before is not None and is_its and 0 < before.state["asks"] <= self._asks
        if self._is_active and (self._has_used or nothing_left):
            self._end({})
        elif before is not None and nothing_left:
            self._pass_over(before)
            self._begin_anew()

    def _goes_on(self, before: Earlier) -> bool:
        """Puts the state of the loop back that the script has come to; False where it begins anew."""
        state = before.state
        if state["how"] != self._how.value and self._how is How.COUNTS:
            why = "it did not count its iterations then"
        elif state["how"] == How.COUNTS.value and self._how is not How.COUNTS:
            why = "it counted its iterations then"
        elif state.get("cut"):
            why = "a fit had begun in one of its iterations"
        elif before.is_finished and state["whyNot"]:
            why = f"it had ended, and {state['whyNot']}"
        else:
            missing = self._put_back(before)
            if missing is None:
                return True
            why = f"{missing.what} has not been made where it asks"
            if missing.is_to_come and not before.is_finished:
                self._put_back_random(before)
                return True
        self._give_up(before, why)
        return False

    def _answer(self, before: Earlier) -> int:
        """To a script that asks for the number of a step."""
        return 0 if before.state["whyNot"] else before.step

    def _give_up(self, before: Earlier, why: str) -> None:
        if self._how is How.ASKS and self._is_active and self._answer(before):
            why = f"{why}; its first {before.step} steps are not trained in this attempt"
        self._session.checkpoint = None
        self._looks_for_state = False
        self._resume.is_given_up(before, why)

    def _put_back(self, before: Earlier) -> NotThere | None:
        missing = self._state.put_back(before)
        if missing is not None:
            return missing
        if not self._is_active:
            self._begin()
        self._restored, self._step, self._told_at = before, before.step, before.step
        self._rounds.begin_again()
        self._rounds_before = 0 if before.state["whyNot"] else before.step
        self._has_new_optimizer = True
        session = self._session
        session.batch_steps = max(session.batch_steps, before.state["batchSteps"])
        for optimizer in self._state.optimizers:
            if not any(optimizer.iterations is known for known in session.custom_iterations):
                session.custom_iterations.append(optimizer.iterations)
        for model in self._state.trained:
            session.models.trained_by_hand(model, "a loop of the script's own")
        session.files.put_back()
        self._last_before = before.state["last"]
        self._tell_resume(before)
        if not before.is_finished:
            session.checkpoint = None
        if session.is_saved and session.settings.workers == 1:
            self._others = Others()
        return None

    def _tell_resume(self, before: Earlier) -> None:
        if self._how is How.NOT or before.state["whyNot"]:
            why = "" if self._how is How.NOT else before.state["whyNot"]
            self._resume.begins_anew_with_weights(before, why)
            return
        self._put_back_random(before)
        self._resume.goes_on(before)

    def _put_back_random(self, before: Earlier) -> None:
        """Once: the script has drawn its first batch when what is left of its state can be put back."""
        if self._random_of != before.index and not before.state["whyNot"]:
            self._random_of = before.index
            keras_random.restore(values.decode(before.state["random"], before.arrays))

    def _earlier(self) -> Earlier | None:
        """The next loop of the attempt before that has not been put back."""
        if self._session.keeps_own:
            return None
        found = earlier(self._session.checkpoint, self._session.fits)
        is_done = found is not None and self._restored is not None and found.index == self._restored.index
        return None if is_done else found

    def _pass_over(self, before: Earlier) -> None:
        """The script has done without its state."""
        self._session.lose("the state of a loop that is passed over could not be put back")
        self._session.fits += 1
        self._session.steps_of_finished_fits += before.step
        if not before.is_finished:
            self._session.checkpoint = None

    # --- how it is followed ---

    def _begin(self) -> None:
        session = self._session
        self._is_active = True
        self._last_snapshot = time.monotonic()
        total = {} if self._counted is None or not self._counted.total else {"steps": self._counted.total}
        session.messages.send("fit", fit=session.fits, epochs=1, stepsPerEpoch=None, **total)
        if session.settings.workers == 1:
            session.stop.training_begins(self._pending.hand_over)
            if session.is_saved:
                self._others = Others()

    def _note_first_use(self) -> None:
        if self._was_passed_over:
            self._session.lose("a loop that had ended in an earlier attempt has trained again")
        self._has_used = True

    def _ends_round(self, what: Any) -> bool:
        last = self._rounds.last
        if last is None:
            return bool(self._last_before) and loop_metrics.name_of(what) == self._last_before
        return last() is what

    def _between_steps(self, round_: list[weakref.ref[Any]]) -> None:
        now, step = time.monotonic(), self._step
        logs = is_logged(self._told_at, step, None)
        compares = self._resume.expects(step)
        shows = now - self._last_progress >= PROGRESS_SECONDS
        self._told_at = step
        if self._has_new_optimizer and self._counted is None:
            self._has_new_optimizer = False
            of_batches = [getattr(one(), "optimizer", None) for one in round_]
            self._steps.see([one for one in self._state.optimizers if one not in of_batches], step)
        if logs or compares or shows or self._pending.is_there:
            used = [one for reference in round_ if (one := reference()) is not None]
            metrics = loop_metrics.read(used, self._results)
            if logs or shows:
                self._last_progress = now
                self._send("step" if logs else "progress", metrics)
            if compares:
                self._resume.compare(step, metrics)
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
            self._copy.prepare(self._state.variables())
        return self._copy.is_ready and not self._session.writer.is_busy

    def _take(self) -> None:
        self._last_snapshot = time.monotonic()
        if self._session.writer is None or not self._session.is_saved:
            self._session.stop.exit_if_asked()
        elif not self._session.writer.is_busy:  # else, asked to stop: the one that is being written is the last
            self._pending.take(self._snapshot, self._session.fits)

    def _save(self) -> None:
        if not self._pending.is_there and self._session.writer is not None and self._session.is_saved:
            self._take()
        self._pending.hand_over()

    def _snapshot(self) -> Snapshot | None:
        files = self._session.capture_files()
        state, arrays = self._captured()
        position = Position(self._session.fits, 0, self._step, self._step)
        number = self._session.steps_of_finished_fits + self._session.fits + self._step
        return None if files is None else Snapshot(number, position, False, state, arrays, files=files)

    def _captured(self) -> tuple[dict[str, Any], Arrays]:
        doubt = ""
        if self._others is not None:
            changed, doubt = self._others.changed(self._state.variables().values())
            self._state.add_changed(changed)
        arrays = self._copy.take(self._state.variables())
        random = values.encode(keras_random.capture(), arrays)
        last = self._rounds.current[-1]() if self._rounds.current else None
        state = {
            LOOP: self._state.described(),
            "random": random,
            "steps": self._step,
            "last": "" if last is None else loop_metrics.name_of(last),
            "how": self._how.value,
            "asks": self._asks,
            "whyNot": self._why_not_counted(),
            "doubt": doubt,
            "batchSteps": self._session.batch_steps,
        }
        return state, arrays

    def _why_not_counted(self) -> str:
        """Why a step is not an iteration of the script's."""
        if self._counted is not None:
            return ""
        return self._rounds.why_not(self._rounds_before) or self._steps.why_not(self._step)

    # --- how it ends ---

    def _end(self, more: dict[str, Any]) -> None:
        """The script has come to something else."""
        self._resume.loop_ends()
        if not self._was_passed_over:
            self._keep_end(more)
        self._pass_on()

    def _pass_on(self) -> None:
        self._session.fits += 1
        self._session.steps_of_finished_fits += self._step
        self._begin_anew()
        self._session.stop.training_ends()

    def _keep_end(self, more: dict[str, Any]) -> None:
        """Where the script is killed later on, and asks, this loop is not trained again."""
        self._pending.drop()
        if self._is_told_to_stop:
            self._session.writer = None  # it was left, and has not ended
        writer = self._session.writer
        if writer is None or not self._session.is_saved or self._session.settings.workers > 1:
            return
        if self._copy.is_large:
            writer.wait(_WRITE_SECONDS)  # else the ends of short loops pile up in memory
        state, arrays = self._captured()
        if self._state.has_lost_models:
            state["whyNot"] = state["whyNot"] or "the script had let go of a model that it trained"
        writer.keep(self._session.fits, FinishedFit(state | more, arrays))

    def _mark_end(self) -> None:
        """A checkpoint by itself, at once where the interval is over, else where the script ends or is stopped."""
        session = self._session
        if session.writer is None or not session.is_saved or session.settings.workers > 1:
            return
        files = session.capture_files()
        if files is None:
            return
        position = Position(session.fits, 0, 0, self._step)
        number = session.steps_of_finished_fits + self._step + session.fits + 1
        session.unsaved_end = Snapshot(number, position, True, {}, {}, files=files), session.fits + 1
        if time.monotonic() - self._last_snapshot >= session.settings.checkpoint_interval_seconds:
            session.hand_over_end()

    # --- what is said ---

    def _send(self, kind: str, metrics: dict[str, float]) -> None:
        self._session.messages.send(
            kind, fit=self._session.fits, epoch=0, step=self._step, time=milliseconds(), metrics=in_json(metrics)
        )

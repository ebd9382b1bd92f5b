"""Loops of the script's own, which train without `fit`: each use of an optimizer, each call of a tf.function in which
one is used, and each `train_on_batch` is seen (hooks.py). A loop goes from the first of them, or from where the
script asks for it, to the next loop that is asked for, to the next fit, or to the script's end. It counts as a fit.

A step is one iteration of `headrace_client.steps`. In a loop that does not use it, it is a round of uses: a GAN uses
two optimizers by turns, and one round of both is a step (counts.py). What the last use of a round was shows in the
second one. Between two steps nothing is half done: there, in the thread that trains, checkpoints are taken, and the
process is ended.

In the next attempt the script runs from its beginning. The state is put back as soon as all that it is of has been
made: where the script asks where to begin, at the first gradient, or after the first use. A script that does not ask
goes through its whole loop once more with weights that are trained already, which is told, and is never called exact
(decisions 0024, 0026).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from headrace_trainer.adapters import values
from headrace_trainer.adapters.keras.loops.resume import LoopResume
from headrace_trainer.adapters.keras.loops.run import Counted, How, LoopRun
from headrace_trainer.adapters.keras.loops.state import Earlier, NotThere, earlier
from headrace_trainer.adapters.keras.state import random as keras_random
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.session import Session


class Loops:
    """All loops of one script, one after another. Of the script's main thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._resume = LoopResume(session)
        self._restored: Earlier | None = None
        self._random_of: int | None = None
        self._run = LoopRun(session, self._resume)

    def _begin_anew(self) -> None:
        self._run = LoopRun(self._session, self._resume)

    # --- what is asked ---

    @property
    def awaits_state(self) -> bool:
        """Whether the state of the loop that is next, or under way, has not been put back yet. One that had ended, and
        does not ask, is trained again as it was.
        """
        before = self._earlier()
        if before is None or before.index != self._session.fits:
            return False
        return self._run.how is not How.NOT or not before.is_finished

    @property
    def awaits_any_state(self) -> bool:
        """Whether there is the state of a loop that is to come."""
        return self._earlier() is not None

    def resumed_step(self) -> int:
        """The step after which the next loop goes on. Its state is put back, if all that it is of has been made."""
        if self._run.counted is not None:
            return 0  # in an iteration, which is what counts
        self._pass_on_where_asked_again()
        self._run.how, self._run.asks = How.ASKS, self._run.asks + 1
        self._run.look_beside()
        if self._run.is_active:  # its state is there
            assert self._restored is not None
            if self._run.asks == 1:
                self._tell_resume(self._restored)
            return self._answer(self._restored)
        before = self._earlier()
        if before is None:
            return 0
        if before.index == self._session.fits and not self._goes_on(before):
            return 0
        if before.index == self._session.fits and self._answer(before):
            self._run.put_back_names(before.state.get("made", {}), before.arrays)
        return self._answer(before)

    def steps(self, start: int, stop: int) -> Iterator[int]:
        """The script's own count of its iterations."""
        if self._run.counted is not None or threading.current_thread() is not threading.main_thread():
            yield from range(start, stop)  # a part of an iteration
            return
        total = max(0, stop - start)
        done = self._begin_counted(total)
        counted = self._run.counted
        try:
            while done < total:
                yield start + done
                done = self._after_iteration(counted, done)
        except GeneratorExit:
            self._break_off(counted)
            raise
        if counted is self._run.counted:
            self._end_counted()

    # --- what happens ---

    @property
    def loop(self) -> object:
        """Which one is under way."""
        return self._run

    def knows(self, optimizer: Any) -> bool:
        """Whether it has been used in the loop that is under way."""
        return self._run.is_active and self._run.state.knows(optimizer)

    def uses(self, optimizer: Any, models: list[Any], variables: list[Any]) -> None:
        """An optimizer that is not known is about to be used, perhaps while a function is traced."""
        if not self._run.is_active:
            self._run.begin()
        self._run.state.add(optimizer, models, variables)
        self._run.looks_for_state = self._run.has_new_optimizer = True

    def used(self, what: Any, steps: int, result: Any) -> None:
        """It was used: `what` is an optimizer, a model or a function, which has trained so many steps."""
        if not self._run.has_used:
            self._note_first_use()
        self._run.results[id(what)] = result
        if self._run.counted is not None:
            self._run.counted.uses(what)
            return
        if self._run.rounds.used(what):
            self._run.step += steps
        if self._run.ends_round(what):
            self._run.between_steps(self._run.rounds.current)
            self._run.results.clear()

    def corrected(self, steps: int) -> None:
        """There were more steps in a call than was known when it was told."""
        self._run.rounds.several_in_a_call()
        if self._run.counted is None:
            self._run.step += steps

    def looks_for_state(self) -> bool:
        """After a use: whether the state was put back right now, so that what was trained just now does not count."""
        if not self._run.looks_for_state:
            return False
        self._run.looks_for_state = False
        if not self.awaits_state:
            return False
        before = self._earlier()
        assert before is not None
        missing = self._put_back(before)
        if missing is None:
            if self._run.counted is None:
                return True
            self._run.counted.is_to_repeat = True
        elif self._run.counted is not None and missing.is_to_come:
            self._run.looks_for_state = True  # until the iteration ends
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
        if self._run.counted is not None and not self._run.has_used and not is_resumed:
            # An iteration is a fit, or has some: they are followed themselves.
            self._run.pending.drop()
            self._begin_anew()
            return
        while not self._run.is_active:
            before = self._earlier()
            if before is None or before.index != self._session.fits:
                break
            if not (self.awaits_state and self.put_back()):
                self._pass_over(before)
        if self._run.is_active:
            is_cut = self._run.counted is not None
            if is_cut:
                told = "a fit in an iteration that also trains by hand: the iterations of this loop cannot be resumed"
                self._session.messages.warn("steps", told)
            self._end({"cut": is_cut})

    def advice(self, error: BaseException) -> str:
        """What a name stands for may have been made in an iteration that only an earlier attempt has gone through."""
        if not isinstance(error, NameError) or self._restored is None:
            return ""
        return (
            f"this attempt went on after step {self._restored.step} of a loop, and what its earlier iterations made is "
            "not there: make it before the loop, or in each iteration where it is missing"
        )

    def save_now(self) -> None:
        """Asked by the script, and so between two of its steps."""
        if not self._run.is_active or self._session.settings.workers > 1:
            return
        self._run.is_told_to_stop = True
        if self._run.counted is None:  # else it is known whether an iteration has ended
            self._run.save()

    def script_ends(self) -> None:
        """What comes now is no training."""
        if self._run.is_active:
            self._resume.loop_ends()
            self._run.is_active = False
            self._session.stop.training_ends()

    # --- loops that count ---

    def _begin_counted(self, total: int) -> int:
        """A loop begins; how many of its iterations are done."""
        if self._run.is_active:
            self._end({})
        self._begin_anew()
        self._run.how, self._run.counted = How.COUNTS, Counted(total)
        before = self._earlier()
        done = 0
        if before is not None and before.index == self._session.fits and self._goes_on(before):
            done = total if before.is_finished else before.step
        if not self._run.is_active:
            self._run.begin()
        if before is not None and done:
            self._run.put_back_names(before.state.get("made", {}), before.arrays)
        self._run.step = self._run.told_at = done
        return done

    def _after_iteration(self, counted: Counted | None, done: int) -> int:
        """Between two iterations; how many are done."""
        if counted is None or counted is not self._run.counted:
            return done + 1
        if counted.is_to_repeat and self._restored is not None:
            counted.is_to_repeat, self._random_of = False, None
            self._run.state.put_back(self._restored)
            self._put_back_random(self._restored)
            done = self._restored.step
        elif counted.used and self._run.looks_for_state and self.awaits_state:
            before = self._earlier()
            assert before is not None
            self._give_up(before, "what its state is of was not made in its first iteration")
            done = 0
        else:
            done = self._run.step = done + 1
            self._run.between_steps(counted.used)
        self._run.step = done
        counted.used = []
        self._run.results.clear()
        return done

    def _end_counted(self) -> None:
        """Its last iteration has ended. That is saved as the end of a fit is: what follows may take its time."""
        self._resume.loop_ends()
        self._run.is_told_to_stop = False  # and has not left it for that
        if not self._was_passed_over:
            self._run.keep_end({})
            self._run.mark_end()
        self._pass_on()

    def _break_off(self, counted: Counted | None) -> None:
        """The script has left its loop: where it was told to stop, to go on with it later."""
        if counted is None or counted is not self._run.counted or not self._run.is_active:
            return  # or it is Python that ends
        if not (self._run.is_told_to_stop and self._session.stop.is_requested):
            self._end({})  # whether that is an exception which ends the script is not known: it is not saved by itself
            return
        self._run.step += bool(counted.used)
        if self._run.step:
            self._run.save()
        self._session.writer = None  # what comes now would be saved as if the loop had ended
        self._session.fits += 1
        self._begin_anew()

    # --- how it goes on ---

    @property
    def _was_passed_over(self) -> bool:
        restored = self._restored
        is_it = restored is not None and restored.index == self._session.fits and restored.is_finished
        return is_it and not self._run.has_used

    def _pass_on_where_asked_again(self) -> None:
        """The script asks for its next loop: it has trained in the one before, or has found nothing left to do."""
        before = self._restored if self._run.is_active else self._earlier()
        is_its = before is not None and before.index == self._session.fits
        nothing_left = before is not None and is_its and 0 < before.state["asks"] <= self._run.asks
        if self._run.is_active and (self._run.has_used or nothing_left):
            self._end({})
        elif before is not None and nothing_left:
            self._pass_over(before)
            self._begin_anew()

    def _goes_on(self, before: Earlier) -> bool:
        """Puts the state of the loop back that the script has come to; False where it begins anew."""
        state = before.state
        if state["how"] != self._run.how.value and self._run.how is How.COUNTS:
            why = "it did not count its iterations then"
        elif state["how"] == How.COUNTS.value and self._run.how is not How.COUNTS:
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
        if self._run.how is How.ASKS and self._run.is_active and self._answer(before):
            why = f"{why}; its first {before.step} steps are not trained in this attempt"
        self._session.checkpoint = None
        self._run.looks_for_state = False
        self._resume.is_given_up(before, why)

    def _put_back(self, before: Earlier) -> NotThere | None:
        missing = self._run.state.put_back(before)
        if missing is not None:
            return missing
        if self._run.is_active:
            self._run.look_at_others()
        else:
            self._run.begin()
        self._restored, self._run.step, self._run.told_at = before, before.step, before.step
        self._run.unkept, self._run.doubt = list(before.state.get("unkept", ())), before.state["doubt"]
        self._run.rounds.begin_again()
        self._run.rounds_before = 0 if before.state["whyNot"] else before.step
        self._run.has_new_optimizer = True
        session = self._session
        session.batch_steps = max(session.batch_steps, before.state["batchSteps"])
        for optimizer in self._run.state.optimizers:
            counted = keras_state.steps_of(optimizer)
            if not any(counted is known for known in session.custom_iterations):
                session.custom_iterations.append(counted)
        for model in self._run.state.trained:
            session.models.trained_by_hand(model, "a loop of the script's own")
        session.files.put_back()
        self._run.last_before = before.state["last"]
        self._tell_resume(before)
        if not before.is_finished:
            session.checkpoint = None
        return None

    def _tell_resume(self, before: Earlier) -> None:
        if self._run.how is How.NOT or before.state["whyNot"]:
            why = "" if self._run.how is How.NOT else before.state["whyNot"]
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

    def _note_first_use(self) -> None:
        if self._was_passed_over:
            self._session.lose("a loop that had ended in an earlier attempt has trained again")
        self._run.has_used = True
        if self._run.how is How.ASKS:
            self._run.look_beside_where_used()

    # --- how it ends ---

    def _end(self, more: dict[str, Any]) -> None:
        """The script has come to something else."""
        self._resume.loop_ends()
        if not self._was_passed_over:
            self._run.keep_end(more)
        self._pass_on()

    def _pass_on(self) -> None:
        self._session.fits += 1
        self._session.steps_of_finished_fits += self._run.step
        self._begin_anew()
        self._session.stop.training_ends()

"""One loop of the script's own while it is under way: how far it is, what is told of it, and what is saved of it."""

from __future__ import annotations

import time
import weakref
from enum import Enum
from typing import Any

from headrace_trainer.adapters import liveness, values
from headrace_trainer.adapters.checkpoint import Arrays, FinishedFit, Position, Snapshot
from headrace_trainer.adapters.keras.fits.recorder import PROGRESS_SECONDS, is_logged
from headrace_trainer.adapters.keras.loops import metrics as loop_metrics
from headrace_trainer.adapters.keras.loops.beside import Beside
from headrace_trainer.adapters.keras.loops.counts import Rounds, Steps
from headrace_trainer.adapters.keras.loops.others import Others
from headrace_trainer.adapters.keras.loops.resume import LoopResume
from headrace_trainer.adapters.keras.loops.state import LOOP, LoopState
from headrace_trainer.adapters.keras.state import random as keras_random
from headrace_trainer.adapters.keras.state.host_copy import HostCopy
from headrace_trainer.adapters.messages import in_json, milliseconds
from headrace_trainer.adapters.pending import Pending
from headrace_trainer.adapters.session import Session


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
        """One of what is used in it."""
        if not any(one() is what for one in self.used):
            self.used.append(weakref.ref(what))


class LoopRun:
    """One loop. What it uses is added to its `state`, how often it did to `rounds`."""

    def __init__(self, session: Session, resume: LoopResume) -> None:
        self._session = session
        self._resume = resume
        self.is_active = False
        self.state = LoopState()
        self.how = How.NOT
        self.asks = 0
        self.counted: Counted | None = None
        self.has_used = False
        self.step = self.told_at = 0
        self.rounds = Rounds()
        self.rounds_before = 0  # that were alike in an earlier attempt
        self.last_before = ""  # what ended a round there, which ends the first one of this one
        self.results: dict[int, Any] = {}
        self.looks_for_state = self.has_new_optimizer = False
        self.is_told_to_stop = False
        self.pending = Pending(session.writer, session.stop)
        self._steps = Steps()
        self._others: Others | None = None
        self._beside: list[Beside] = []
        self.unkept: list[str] = []  # names of what is not restored, in this attempt or one before
        self.doubt = ""  # of an attempt before
        self._last_progress = 0.0
        self._last_snapshot = time.monotonic()
        self._copy = HostCopy()
        self._is_prepared = False

    def begin(self) -> None:
        """From here on it is followed."""
        session = self._session
        self.is_active = True
        self._last_snapshot = time.monotonic()
        total = {} if self.counted is None or not self.counted.total else {"steps": self.counted.total}
        session.messages.send("fit", fit=session.fits, epochs=1, stepsPerEpoch=None, **total)
        if session.settings.workers == 1:
            session.stop.training_begins(self.pending.hand_over)
        self.look_at_others()
        if self.counted is not None:
            self.look_beside()

    @property
    def _looks(self) -> bool:
        return self._session.is_saved and self._session.settings.workers == 1

    def look_at_others(self) -> None:
        """The state is that from which on changes are looked for."""
        if self._looks:
            self._others = Others()

    def look_beside(self) -> None:
        """The script has come to where it asks: from here on it is looked at what it keeps itself."""
        if self._looks:
            self._beside.append(Beside())

    def put_back_names(self, made: dict[str, Any], arrays: Any) -> None:
        """Where the script asks: of what its earlier iterations had made."""
        if not self._beside:
            self._beside.append(Beside())
        self._beside[0].put_back(made, arrays)

    def look_beside_where_used(self) -> None:
        """The same in an iteration, where it is not known in which function the loop is."""
        if self._looks:
            self._beside.append(Beside(liveness.read_in_loops, *self._beside[-1:]))

    def ends_round(self, what: Any) -> bool:
        """Whether a step ends with this use."""
        last = self.rounds.last
        if last is None:
            return bool(self.last_before) and loop_metrics.name_of(what) == self.last_before
        return last() is what

    def between_steps(self, round_: list[weakref.ref[Any]]) -> None:
        """A step has ended, in which these were used."""
        now, step = time.monotonic(), self.step
        logs = is_logged(self.told_at, step, None)
        compares = self._resume.expects(step)
        shows = now - self._last_progress >= PROGRESS_SECONDS
        self.told_at = step
        if self.has_new_optimizer and self.counted is None:
            self.has_new_optimizer = False
            of_batches = [getattr(one(), "optimizer", None) for one in round_]
            self._steps.see([one for one in self.state.optimizers if one not in of_batches], step)
        if logs or compares or shows or self.pending.is_there:
            used = [one for reference in round_ if (one := reference()) is not None]
            metrics = loop_metrics.read(used, self.results)
            if logs or shows:
                self._last_progress = now
                self._send("step" if logs else "progress", metrics)
            if compares:
                self._resume.compare(step, metrics)
            if self.pending.complete(step, metrics):
                self.pending.hand_over()
                self._session.stop.exit_if_asked()
        if self._is_due(now):
            self._take()

    def _is_due(self, now: float) -> bool:
        session = self._session
        if self.pending.is_there or session.settings.workers > 1:
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
            self._copy.prepare(self.state.variables())
        return self._copy.is_ready and not self._session.writer.is_busy

    def _take(self) -> None:
        self._last_snapshot = time.monotonic()
        if self._session.writer is None or not self._session.is_saved:
            self._session.stop.exit_if_asked()
        elif not self._session.writer.is_busy:  # else, asked to stop: the one that is being written is the last
            self.pending.take(self._snapshot, self._session.fits)

    def save(self) -> None:
        """At once, and without the steps after it, in place of what waits for them."""
        session = self._session
        if session.writer is not None and session.is_saved and session.writer.wait(session.stop.patience):
            self.pending.drop()
            self._take()
        self.pending.hand_over()

    def _snapshot(self) -> Snapshot | None:
        files = self._session.capture_files()
        state, arrays = self._captured()
        position = Position(self._session.fits, 0, self.step, self.step)
        number = self._session.steps_of_finished_fits + self._session.fits + self.step
        return None if files is None else Snapshot(number, position, False, state, arrays, files=files)

    def _captured(self, *, is_end: bool = False) -> tuple[dict[str, Any], Arrays]:
        doubt = ""
        if self._others is not None:
            changed, doubt = self._others.changed(self.state.variables().values())
            self.state.add_changed(changed)
        kept = list(self.state.variables().values())
        # The end of a loop that does not count is seen in what follows, where the script may have gone on with them.
        looked_at = [] if is_end and self.counted is None else self._beside
        changes = [name for beside in looked_at for name in beside.changed(kept)]
        self.unkept = list(dict.fromkeys([*self.unkept, *changes]))
        arrays = self._copy.take(self.state.variables())
        random = values.encode(keras_random.capture(), arrays)
        made = self._beside[0].made(arrays) if self._beside else {}
        last = self.rounds.current[-1]() if self.rounds.current else None
        state = {
            LOOP: self.state.described(),
            "random": random,
            "steps": self.step,
            "last": "" if last is None else loop_metrics.name_of(last),
            "how": self.how.value,
            "asks": self.asks,
            "whyNot": self._why_not_counted(),
            "doubt": doubt or self.doubt,
            "unkept": self.unkept,
            "made": made,
            "batchSteps": self._session.batch_steps,
        }
        return state, arrays

    def _why_not_counted(self) -> str:
        """Why a step is not an iteration of the script's."""
        if self.counted is not None:
            return ""
        return self.rounds.why_not(self.rounds_before) or self._steps.why_not(self.step)

    def keep_end(self, more: dict[str, Any]) -> None:
        """Where the script is killed later on, and asks, this loop is not trained again."""
        self.pending.drop()
        if self.is_told_to_stop:
            self._session.writer = None  # it was left, and has not ended
        writer = self._session.writer
        if writer is None or not self._session.is_saved or self._session.settings.workers > 1:
            return
        self._copy.wait_for(writer)
        state, arrays = self._captured(is_end=True)
        if self.counted is None:
            state["whyNot"] = self.rounds.why_not_at_end() or self._steps.why_not(self.step)
        if self.state.has_lost_models:
            state["whyNot"] = state["whyNot"] or "the script had let go of a model that it trained"
        writer.keep(self._session.fits, FinishedFit(state | more, arrays))

    def mark_end(self) -> None:
        """A checkpoint by itself, at once where the interval is over, else where the script ends or is stopped."""
        session = self._session
        if session.writer is None or not session.is_saved or session.settings.workers > 1:
            return
        if not session.mark_end(Position(session.fits, 0, 0, self.step)):
            return
        if time.monotonic() - self._last_snapshot >= session.settings.checkpoint_interval_seconds:
            session.hand_over_end()

    def _send(self, kind: str, metrics: dict[str, float]) -> None:
        self._session.messages.send(
            kind, fit=self._session.fits, epoch=0, step=self.step, time=milliseconds(), metrics=in_json(metrics)
        )

"""What is said of the resume of a script's own loop: where it went on, and whether its steps are those that the
interrupted attempt saw.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace_trainer.adapters.keras.loops.state import Earlier
from headrace_trainer.adapters.keras.state import kept
from headrace_trainer.adapters.replay import Replay, Verdict, previous_steps
from headrace_trainer.adapters.session import Session

_COUNT = "let it count its iterations: for i in headrace_client.steps(...)"
_ASK = "let it begin at headrace_client.resumed_step(), or count its iterations with headrace_client.steps(...)"


class LoopResume:
    """Of all loops of a script, one after another."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: Earlier | None = None
        self._replay: Replay | None = None

    def goes_on(self, before: Earlier) -> None:
        """After its step, as it asked."""
        self._before = before
        if before.is_finished:
            self._session.unkept += [
                name for name in before.state.get("unkept", ()) if name not in self._session.unkept
            ]
            checkpoint = self._session.checkpoint
            last = None if checkpoint is None else checkpoint.snapshot
            if last is not None and last.between_fits and last.position.fit == before.index:
                told = kept.sentence(self._session.unkept) or "no step was trained again"
                self._send(before.step, Verdict(None, f"the loop had ended: {told}"))
            return
        logged = self._session.settings.previous_steps_file
        expected = {step: metrics for step, metrics in before.replay.items() if metrics}
        if logged is not None:
            expected = previous_steps(logged, before.index, before.step) | expected
        unkept = dict.fromkeys([*self._session.unkept, *before.state.get("unkept", ())])
        doubts = (before.state["doubt"], kept.sentence(list(unkept)))
        self._replay = Replay(before.step, expected, "; ".join(filter(None, doubts)))
        told = f"the loop goes on after step {before.step}, as it asked; its data are its own"
        self._send(before.step, Verdict(False, f"{told}, and no step could be compared yet"))

    def begins_anew_with_weights(self, before: Earlier, why: str) -> None:
        """From its first step, but with the state of the last one."""
        self._before, self._replay = before, None
        if why:
            short = f"in which iteration the loop was is not known: {why}"
            advice = f"{short}; {_COUNT}"
        else:
            short = "the loop does not know of the resume"
            advice = f"it does not know that it is resumed; {_ASK}"
        told = f"the script's own loop begins from its first step, with the weights of step {before.step}: {advice}"
        self._session.messages.warn("resume", told)
        more = "; it begins from its first step, with the weights that it had: count with headrace_client.steps()"
        self._send(before.step, Verdict(False, f"not exact: {short}{more if why else ''}"))

    def is_given_up(self, before: Earlier, why: str) -> None:
        """Nothing of it is put back, nor of what came after it."""
        self._before, self._replay = before, None
        told = f"the script's own loop begins from its first step, and with it all that follows: {why}"
        self._session.lose(told)
        self._session.messages.warn("resume", told)
        self._send(0, Verdict(False, told))

    def expects(self, step: int) -> bool:
        """Whether this step is one to compare."""
        return self._replay is not None and self._replay.expects(step)

    def compare(self, step: int, metrics: Mapping[str, float]) -> None:
        """One replayed step."""
        if self._replay is not None:
            self._tell(self._replay.compare(step, metrics))

    def loop_ends(self) -> None:
        """No further step of it will come."""
        if self._replay is not None and self._replay.expected:
            self._tell(self._replay.verdict_so_far())
        self._replay = None

    def _tell(self, verdict: Verdict | None) -> None:
        if verdict is None or self._before is None:
            return
        is_doubted = self._replay is not None and bool(self._replay.doubt)
        if verdict.exact is not None or is_doubted:
            self._send(self._before.step, verdict)

    def _send(self, step: int, verdict: Verdict) -> None:
        assert self._before is not None
        if self._session.lost and verdict.exact is not False:
            verdict = Verdict(False, self._session.lost)
        self._session.messages.send(
            "resume", fit=self._before.index, epoch=0, step=step, exact=verdict.exact, message=verdict.message
        )

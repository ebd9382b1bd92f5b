"""How a worker's end is judged: exit status, exception, OOM and what was trained go in, one failure (or none) comes
out.

Pure, in the order in which causes explain one another. The classes, reasons and exit codes are those of
docs/reference/launcher-protocol.md. What the cluster alone can see (evictions, scheduling, images) is the operator's.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path

from headrace_common.protocol.parts import LostPeer
from headrace_common.protocol.reasons import RULES, FailureClass, Reason
from headrace_trainer.launcher.failures import hints
from headrace_trainer.launcher.failures.last_words import last_words
from headrace_trainer.launcher.failures.oom import MemoryKill
from headrace_trainer.launcher.failures.place import place_in, with_place
from headrace_trainer.launcher.messages import Refused, ScriptException
from headrace_trainer.launcher.texts import one_line


@dataclass(frozen=True)
class Failure:
    """One cause: what happened (`message`), and what to do about it (`hint`). `lost_peer` is a worker's index; `time`,
    in milliseconds since 1970, is set where it happened before it was seen: between an exception and the end of its
    process some frameworks take a second. `script_code` is the script's own exit code, where it ended with one;
    `exit_code` is the launcher's.
    """

    reason: Reason
    message: str
    hint: str = ""
    lost_peer: int | None = None
    time: int | None = None
    script_code: int | None = None

    @property
    def failure_class(self) -> FailureClass:
        return RULES[self.reason][0]

    @property
    def exit_code(self) -> int:
        return RULES[self.reason][1]


class Failed(Exception):
    """Raised where a failure is known; it becomes the record in one place, the launcher's main."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def bad_config(
    message: str,
    hint: str = "This is no fault of the script: the trainer image and the operator have to be of the same release.",
) -> Failure:
    """HEADRACE_CONFIG, or the environment, asks for what cannot be done."""
    return Failure(Reason.BAD_CONFIG, message, hint)


def launcher_failed(error: Exception) -> Failure:
    """What nobody has foreseen: `error` is in the pod's log, with where it came from."""
    return Failure(
        Reason.LAUNCHER_FAILED,
        f"the launcher failed: {type(error).__name__}: {error}",
        "This is a fault of Headrace, not of the script: please report it, with the pod's log.",
    )


@dataclass(frozen=True)
class ChildEnd:
    """All that is known of how the script's process ended.

    `exit_code` is negative for a signal. `trained_steps` counts what was trained in this attempt or restored from an
    earlier one. `nothing_trained_hint` is empty where a script may do without training. `is_cut_short`: whoever follows
    it did not come to its end, and was to export a model then. `lost_peer` is what the framework's own words blame.
    `resumed_in` is the working directory of an attempt that went on from a checkpoint. `log_tail` is the end of stdout
    and stderr, whose lines have no certain order; `log_by_stream` has where to look for the cause first.
    `source` is the folder of the user's own files.
    """

    exit_code: int
    trained_steps: int
    exception: ScriptException | None = None
    refused: Refused | None = None
    memory_kill: MemoryKill | None = None
    is_followed: bool = True  # by an adapter, which says what the script has raised
    nothing_trained_hint: str = ""
    is_cut_short: bool = False
    lost_peer: LostPeer | None = None
    log_tail: str = ""
    log_by_stream: tuple[str, ...] = ()
    worker: int = 0
    workers: int = 1
    resumed_in: Path | None = None
    source: Path | None = None

    @property
    def last_words(self) -> str:
        """Of the stream that says the cause."""
        return self.log_by_stream[0] if self.log_by_stream else self.log_tail

    @property
    def in_log(self) -> ScriptException | None:
        """The exception that a stream ends with."""
        found = (last_words(text) for text in self.log_by_stream or (self.log_tail,))
        return next((raised for raised in found if raised is not None), None)


def judge(end: ChildEnd) -> Failure | None:
    """The cause of the end, or None where the script did what it is for."""
    failure = _cause(end)
    return failure if failure is None or end.exit_code <= 0 else replace(failure, script_code=end.exit_code)


def _cause(end: ChildEnd) -> Failure | None:
    if end.memory_kill is not None:
        return _out_of_memory(end.memory_kill, end.exit_code)
    if end.refused is not None:
        return _refused(end.refused)
    if end.exit_code != 0 and end.workers > 1 and end.lost_peer is not None:
        return _peer_lost(end, end.lost_peer)
    if end.exit_code == -signal.SIGKILL:
        return Failure(
            Reason.CHILD_KILLED,
            "the script's process was ended by SIGKILL, and not because of its memory",
            "A process on the node, or a user in the pod (kubectl exec), sent the signal: look at the node's kernel "
            "log. The next attempt resumes from the last checkpoint.",
        )
    if end.exception is not None and end.exit_code != 0:
        return _raised(end.exception, end)
    if end.exit_code < 0:
        known = -end.exit_code in {number.value for number in signal.Signals}
        name = signal.Signals(-end.exit_code).name if known else f"signal {-end.exit_code}"
        return Failure(
            Reason.SCRIPT_EXITED,
            f"the script's process ended by {name}",
            _CRASHED if -end.exit_code in _CRASHES else _SIGNALLED,
        )
    if end.exit_code == 1 and not end.is_followed and (raised := end.in_log) is not None:
        return replace(_raised(raised, end), time=None)
    if end.exit_code > 0:
        return Failure(
            Reason.SCRIPT_EXITED,
            f"the script ended with exit code {end.exit_code}{_last_line(end.last_words)}",
            hints.of_last_lines(end.last_words)
            or "Read the end of the script's log: kubectl -n NAMESPACE logs POD -c trainer.",
        )
    if end.trained_steps == 0 and end.nothing_trained_hint:
        return Failure(
            Reason.NOTHING_TRAINED,
            "the script ended with exit code 0, but no training step was run",
            f"{end.nothing_trained_hint} {_END_WITHOUT}" if end.is_cut_short else end.nothing_trained_hint,
        )
    if end.is_cut_short:
        return Failure(
            Reason.ENDED_BEFORE_EXPORT,
            "the script ended its process itself, with exit code 0, before its model could be exported",
            _END_WITHOUT,
        )
    return None


_END_WITHOUT = (
    "The model is exported when the script has come to its end: os._exit, and os.exec, leave no time for that. End it "
    "without them, in a new TrainingJob; sys.exit(0) does no harm. Threads that would hold it up can be daemons."
)


def _refused(refused: Refused) -> Failure:
    """A script's process may claim no other reason than these."""
    reason = next((one for one in _CLAIMED if one == refused.reason), Reason.BAD_CONFIG)
    return Failure(reason, refused.message, refused.hint)


def cannot_be_run(program: str, error: OSError) -> Failure:
    """The entrypoint is no program."""
    return Failure(
        Reason.ENTRYPOINT_NOT_FOUND,
        f"{program} cannot be run: {error.strerror}",
        "The entrypoint is a .py or .sh file, or one that may be executed, as in an image of one's own.",
    )


_CLAIMED = (Reason.GPU_NOT_VISIBLE, Reason.DATA_UNREADABLE, Reason.EVALUATION_FAILED, Reason.BASELINE_UNREADABLE)
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
_CRASHED = "A native library crashed. The end of the log may say which: kubectl -n NAMESPACE logs POD -c trainer."
_SIGNALLED = (
    "Something in the pod sent the signal: the script, a process that it had started, or a user (kubectl exec). The "
    "end of the log may say more: kubectl -n NAMESPACE logs POD -c trainer."
)
_MAX_LAST_LINE = 200
_MAX_EXCEPTION = 500  # so that there is place for the end of the log


def _last_line(log_tail: str) -> str:
    """The script's last words, after a colon."""
    lines = [line.strip() for line in log_tail.splitlines() if line.strip()]
    return f": {lines[-1][:_MAX_LAST_LINE]}" if lines else ""


def none_handed_over(formats: tuple[str, ...], hint: str) -> Failure:
    """The script ended well, and has given no model away, which was asked for; by name in these `formats`."""
    asked = f"output.formats asks for {', '.join(formats)}, and no model came"
    return Failure(Reason.BAD_CONFIG, asked if formats else "output asks for a model, and none came", hint)


def export_failed(problems: list[str], hint: str) -> Failure:
    """The script trained well, but no format that was asked for came of it."""
    return Failure(Reason.BAD_CONFIG, "output.formats: " + "; ".join(problems), hint)


_CORRECT_THE_FILE = (
    "Correct requirements.txt in a new TrainingJob. What no index has, what has to be compiled, and what takes too "
    "long belongs into an image: spec.image."
)


def packages_not_installed(words: str, hint: str = _CORRECT_THE_FILE) -> Failure:
    """The resolver says no, a package cannot be built, or somebody between here and the index lets nobody in."""
    return Failure(Reason.PACKAGES_NOT_INSTALLED, f"requirements.txt: {words}", hint)


def index_unavailable(words: str) -> Failure:
    """Not a matter of requirements.txt."""
    return Failure(
        Reason.PACKAGE_INDEX_UNAVAILABLE,
        f"requirements.txt: the package index does not answer: {words}",
        "Check that pods of this namespace reach the index: the chart's trainer.packageIndex.url, UV_DEFAULT_INDEX in "
        "podTemplate, or --index-url in requirements.txt. The next attempt tries again.",
    )


def terminated(message: str) -> Failure:
    """SIGTERM from outside, or a later attempt has taken over: no fault of the script."""
    return Failure(Reason.TERMINATED, message, "The next attempt resumes from the last checkpoint.")


def _out_of_memory(kill: MemoryKill, exit_code: int) -> Failure:
    who = "the script" if exit_code == -signal.SIGKILL else "a process that the script had started"
    hint = "Raise spec.resources.limits.memory, or use less: a smaller batch or model, fewer data loader processes."
    return Failure(Reason.OUT_OF_MEMORY, f"{who} was killed for memory: {kill}", hint)


def _raised(raised: ScriptException, end: ChildEnd) -> Failure:
    place = "" if end.source is None else place_in(end.source, raised.frames)
    text = with_place(_told(raised), place)
    if raised.exception == "ModuleNotFoundError":
        name = raised.module or "a package"
        return Failure(
            Reason.PACKAGE_MISSING,
            text,
            f"{name} is neither in the image nor in spec.source: name the package that has it in a file "
            "requirements.txt beside the script, or set spec.image to an image that has it.",
            time=raised.time,
        )
    return Failure(
        Reason.SCRIPT_INVALID if hints.is_no_python(raised) else Reason.SCRIPT_RAISED,
        text,
        hints.of_exception(raised)
        or hints.of_lost_file(raised, end.resumed_in)
        or "Read the traceback in status.failure.logTail, or in the log: kubectl -n NAMESPACE logs POD -c trainer.",
        time=raised.time,
    )


def _told(raised: ScriptException) -> str:
    message = one_line(raised.message)
    if len(message) > _MAX_EXCEPTION:
        message = f"{message[:_MAX_EXCEPTION]} [...]"
    return f"{raised.exception}: {message}" if message else raised.exception


def _peer_lost(end: ChildEnd, lost: LostPeer) -> Failure:
    name = "another worker" if lost.index is None else f"worker {lost.index}"
    raised = end.exception if end.is_followed else end.in_log
    detail = "" if raised is None else f": {_told(raised)}"
    return Failure(
        Reason.PEER_LOST,
        f"the connection to {name} was lost during the training{detail}",
        f"This is only a consequence: look for the cause in the pod of {name} (kubectl logs, kubectl describe pod).",
        lost_peer=lost.index,
    )

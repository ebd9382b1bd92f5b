"""What the launcher's main thread is told by the script's process, by threads that wait for the network, by signals."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Any

from headrace_common.protocol.report import State
from headrace_trainer.launcher.failures.judge import Failure
from headrace_trainer.launcher.messages import Warned
from headrace_trainer.launcher.process import ChildExited, ChildMessage
from headrace_trainer.launcher.spark.seen import Seen
from headrace_trainer.launcher.store.checkpoints import Stored


@dataclass(frozen=True)
class StopRequested:
    """SIGTERM came."""


@dataclass(frozen=True)
class CheckpointStored:
    """A checkpoint is complete in S3, after so many seconds; None where the store was away meanwhile."""

    stored: Stored
    seconds: float | None


@dataclass(frozen=True)
class Noticed:
    """A thread of the launcher's has something for the user to know; the training goes on."""

    warned: Warned


@dataclass(frozen=True)
class Entered:
    """The preparation has come to something else."""

    state: State


@dataclass(frozen=True)
class SparkSeen:
    """How far Spark is."""

    seen: Seen


@dataclass(frozen=True)
class GivenUp:
    """Nothing will come of the script: it is to be ended, for this."""

    failure: Failure


@dataclass
class Task:
    """Something that waits for the network; `value` or `error` is set when it is done."""

    done: bool = False
    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class TaskDone:
    """A task ended."""

    task: Task


@dataclass(frozen=True)
class ThreadDied:
    """A thread of the launcher's ended by an error that nobody expected."""

    error: BaseException


Event = (
    ChildMessage
    | ChildExited
    | StopRequested
    | CheckpointStored
    | Noticed
    | Entered
    | SparkSeen
    | GivenUp
    | TaskDone
    | ThreadDied
)
Inbox = queue.SimpleQueue[Event]

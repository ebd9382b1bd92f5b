"""What one replica does by itself in the middle of a training of several.

Under a strategy of several replicas a variable is read and made by all of them, on several workers by a collective
operation that waits for ever where one comes alone. Which strategy is in force belongs to a thread: in another one a
variable of several replicas is that of the first one here, and one that is made is an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from keras.src.backend.common import global_state

Result = TypeVar("Result")


def run(strategy: Any, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, in a thread without the strategy where that has several replicas."""
    if strategy.num_replicas_in_sync == 1:
        return work()
    settings = dict(vars(global_state.GLOBAL_STATE_TRACKER))  # Keras' own belong to a thread, too

    def work_there() -> Result:
        vars(global_state.GLOBAL_STATE_TRACKER).update(settings)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="headrace-alone") as thread:
        return thread.submit(work_there).result()

"""What worker 0 decides for the whole gang it writes to the store; the other workers wait for it there."""

from __future__ import annotations

import time

from headrace_common.protocol.reasons import Reason
from headrace_common.s3 import Place
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store

_LOOK_SECONDS = 1.0


def await_word(store: Store, place: Place, seconds: float, patience: Patience, missing: str) -> bytes:
    """The object at `place`. Raises Failed (StorageUnavailable) where it is not there in so many seconds; `missing`
    says what the chief has not done then.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return store.read(place, patience)
        except NotFound:
            if time.monotonic() > deadline:
                raise Failed(
                    Failure(
                        Reason.STORAGE_UNAVAILABLE,
                        f"{place} did not appear: worker 0 {missing}",
                        "Look at the log of worker 0's pod: it has not finished its preparation.",
                    )
                ) from None
            time.sleep(_LOOK_SECONDS)

"""What cannot be followed ends the script at once: not after hours of training that nobody has recorded."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from headrace_trainer.adapters.messages import Messages, milliseconds
from headrace_trainer.adapters.streams import message_of, say

EXIT_CODE = 2


class Refusal(Exception):
    """Why a script cannot be followed, and what its author can do (`hint`). `reason` is the failure's, where it has a
    more exact one than BadConfig.
    """

    def __init__(self, message: str, hint: str, reason: str = "") -> None:
        super().__init__(message)
        self.hint, self.reason = hint, reason


def refuse(messages: Messages, error: Exception, what: str) -> NoReturn:
    """Ends the process. No handler of the script sees the error, which may rise in the middle of its imports."""
    reason = ""
    if isinstance(error, Refusal):
        message, hint, reason = str(error), error.hint, error.reason
    else:
        say("".join(traceback.format_exception(error)), end="")
        message = f"{what}: {type(error).__name__}: {message_of(error)}"
        hint = "Use the release's trainer image, or an image with the same versions of Keras and TensorFlow."
    messages.send("refused", time=milliseconds(), message=message, hint=hint, reason=reason)
    messages.flush()
    say(f"headrace: {message}\nheadrace: {hint}")
    with contextlib.suppress(Exception):  # a stream of the script's own, or none
        sys.stdout.flush()
    os._exit(EXIT_CODE)


def refuse_to_train(classes: Iterable[type], names: Iterable[str], refused: Callable[[], NoReturn]) -> None:
    """Replaces the training methods of a library that is not followed; what else it is good for stays."""
    for owner in classes:
        for name in names:
            original = getattr(owner, name, None)
            if original is not None:
                setattr(owner, name, _refusing(original, refused))


def _refusing(original: Any, refused: Callable[[], NoReturn]) -> Any:
    @functools.wraps(original)
    def refusing(*args: Any, **kwargs: Any) -> NoReturn:
        refused()

    return refusing

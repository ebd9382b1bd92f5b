"""Keeps a script in step with its test (script_process.py): it goes on when its message is acknowledged, and when its
checkpoint is written.
"""

from __future__ import annotations

import os

ACKNOWLEDGED = b"."
_SECONDS = 3600.0  # longer than any test


def keep() -> None:
    """Of this process, whose messages go to a socket that acknowledges each line."""
    from headrace_trainer.adapters import messages
    from headrace_trainer.adapters.checkpoint import Writer

    write, send, submit = messages._write, messages.Messages.send, Writer.submit

    def write_acknowledged(descriptor: int, line: bytes) -> bool:
        return write(descriptor, line) and os.read(descriptor, 1) == ACKNOWLEDGED

    def send_and_wait(self: messages.Messages, message_type: str, /, **fields: object) -> None:
        send(self, message_type, **fields)
        self.flush(_SECONDS)

    def submit_and_wait(self: Writer, *snapshot: object) -> None:
        submit(self, *snapshot)
        self.wait(_SECONDS)

    messages._write = write_acknowledged
    messages.Messages.send = send_and_wait
    Writer.submit = submit_and_wait

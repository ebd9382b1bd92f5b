"""The exception that ended a script which nobody follows, from the end of its log: how Python ends a traceback.

Of an adapter's script the adapter itself says more.
"""

from __future__ import annotations

import re

from headrace_trainer.launcher.failures.place import frames_in
from headrace_trainer.launcher.messages import ScriptException

# With what stands before it in each line: "[rank0]: " of torch, "    | " in an exception group.
_HEADER = re.compile(r"(.*)Traceback \(most recent call last\):\s*")
_FRAME = '  File "'
_INSIDE = "  "
_WORDS = re.compile(r"(?:[A-Za-z_][\w.<>]*\.)?([A-Za-z_]\w*)(?:: (.*))?")
_MODULE = re.compile(r"No module named '([^']+)'")
# What may follow the exception's line: more lines of its message, words of `atexit` and of other threads. After more
# than that the script has gone on, and ended for another cause.
_MOST_AFTER = 10


def last_words(log_tail: str) -> ScriptException | None:
    """The exception of the log's last traceback; None where there is none, or where much else came after it. Of a long
    traceback the tail may have the end only.
    """
    lines = [line for line in log_tail.splitlines() if line.strip()]
    for index in reversed(range(len(lines))):
        if (header := _HEADER.fullmatch(lines[index])) is not None:
            lines = [line.removeprefix(header[1]) for line in lines[index + 1 :]]
            break
    frames = [index for index, line in enumerate(lines) if line.startswith(_FRAME)]
    if not frames:
        return None
    outside = [index for index in range(frames[-1], len(lines)) if not lines[index].startswith(_INSIDE)]
    if not outside:
        return None
    words, *after = lines[outside[0] :]
    match = _WORDS.fullmatch(words)
    if match is None or len(after) > _MOST_AFTER:
        return None
    module = _MODULE.search(words)
    message = "\n".join([match[2] or "", *after]).strip()
    text = "\n".join(lines)
    return ScriptException(0, match[1], message, module[1] if module else None, text, frames_in(text))

"""What the author of a script can do about a fault that many scripts have (pure): by the exception, or by the last
lines of a script that ends itself. What is not known here gets the hint to read the log (judge.py).
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.launcher.messages import ScriptException

_NOTEBOOK = (
    "This looks like an exported notebook: remove the lines of IPython (those with get_ipython(), ! or % at their "
    "beginning, await outside of a function), and name the packages of `!pip install` in requirements.txt."
)
_NO_INTERNET = (
    "Pods may have no internet. What the script downloads, a dataset or pretrained weights: put it into the bucket and "
    "name it in spec.datasets; then it is below /data."
)
_ONE_VALUE = (
    "Each parameter is one argument, --NAME=VALUE. A list in spec.parameters, such as [64, 32], is one text in JSON: "
    "declare type=json.loads; or write a text, and split it in the script."
)
_ONLY_NAMED = (
    "Parameters arrive as --NAME=VALUE only: make a sub-command or a positional argument an option, such as "
    "--command with choices=[...]."
)
_FLAG = (
    "A parameter arrives as --NAME=VALUE, also where it is true or false. Declare it with a type, such as "
    "type=json.loads, and not with action='store_true', which takes no value."
)
_UNKNOWN = (
    "Each parameter is passed as --NAME=VALUE: declare it in the script, as with parser.add_argument('--NAME'), or "
    "remove it from spec.parameters."
)
_LOST_FILE = (
    "This attempt went on from a checkpoint. Only what the script writes below its working directory goes with a "
    "checkpoint: write {} there, with a relative path, and not {}."
)
_NOT_FOUND = frozenset({"FileNotFoundError", "NotFoundError"})
# Of Keras' load_model, which raises a ValueError.
_NO_SUCH_FILE = re.compile(r"File not found: filepath=(\S+?)\.? ")
_ABSOLUTE = re.compile(r"(?<![\w.~/])/[^\s'\",;:)]+")
_QUOTED = re.compile(r"(?<=')[^'\n]+(?=')")
_DATA = Path("/data")
_SYNTAX = frozenset({"SyntaxError", "IndentationError", "TabError"})
_HINTED_LINES = 5
# difflib's own 0.6 is reached by the dashes alone where names are short.
_NEAR = 0.75
_OPTION = re.compile(r"(?<![\w=-])--[A-Za-z][\w-]*")
# Where a syntax error is; a frame of a traceback goes on with ", in".
_PLACE = re.compile(r'^  File "[^"]+\.py", line \d+$', re.MULTILINE)


@dataclass(frozen=True)
class _Known:
    """`words` are looked for in the message; with `in_code`, in the traceback, which has the line of the script."""

    words: re.Pattern[str]
    hint: str
    exceptions: frozenset[str] = frozenset()  # empty: all
    in_code: bool = False


_EXCEPTIONS = (
    _Known(re.compile(r"name '(?:get_ipython|display)' is not defined"), _NOTEBOOK, frozenset({"NameError"})),
    _Known(re.compile(r"'await' outside (?:async )?function"), _NOTEBOOK, _SYNTAX),
    _Known(re.compile(r"^    [!%]", re.MULTILINE), _NOTEBOOK, _SYNTAX, in_code=True),
    _Known(
        re.compile(
            "URL fetch failure on|<urlopen error|[Nn]ame resolution|Name or service not known|Failed to resolve"
            "|No address associated with hostname|Network is unreachable"
        ),
        _NO_INTERNET,
    ),
)
# In the words of argparse, and of click and absl.
_LAST_LINES = (
    (re.compile("ignored explicit argument"), _FLAG),
    (re.compile("unrecognized arguments: --|No such option|Unknown command line flag"), _UNKNOWN),
    (re.compile(r"error: argument \S+: invalid \S+ value: '[^'\n]*[\s,\[]"), _ONE_VALUE),
    (re.compile(r"error: argument \S+: expected (?:at least )?\d+ arguments"), _ONE_VALUE),
    (re.compile(r"error: the following arguments are required: (?!-)"), _ONLY_NAMED),
)


def of_exception(raised: ScriptException) -> str:
    """Empty where nothing is known."""
    for known in _EXCEPTIONS:
        text = raised.traceback if known.in_code else raised.message
        if (not known.exceptions or raised.exception in known.exceptions) and known.words.search(text):
            return known.hint
    return ""


def of_lost_file(raised: ScriptException, resumed_in: Path | None) -> str:
    """Of a file that an earlier attempt has written elsewhere; `resumed_in` is the working directory of an attempt that
    went on from a checkpoint. Empty where nothing was lost in this way.
    """
    keras = _NO_SUCH_FILE.search(raised.message)
    if resumed_in is None or (raised.exception not in _NOT_FOUND and keras is None):
        return ""
    named = [keras[1]] if keras is not None else _ABSOLUTE.findall(raised.message) or _QUOTED.findall(raised.message)
    kept = (resumed_in, resumed_in.resolve(), _DATA)
    places = [(path, Path(os.path.normpath(resumed_in / path))) for path in named]
    lost = [path for path, place in places if not any(place.is_relative_to(folder) for folder in kept)]
    if named and not lost:
        return ""
    return _LOST_FILE.format(*((lost[0], f"below {Path(lost[0]).parent}") if lost else ("its files", "elsewhere")))


def of_last_lines(log_tail: str) -> str:
    """Of a script that ended with an exit code; empty where nothing is known."""
    last = "\n".join(log_tail.splitlines()[-_HINTED_LINES:])
    hint = next((hint for words, hint in _LAST_LINES if words.search(last)), "")
    return f"{_meant(log_tail)}{hint}" if hint == _UNKNOWN else hint


def _meant(log_tail: str) -> str:
    """Of arguments that argparse does not know: the similar ones among those that its usage names."""
    usage, _, refused = log_tail[log_tail.rfind("usage:") + 1 :].partition("error: unrecognized arguments:")
    declared = sorted(set(_OPTION.findall(usage)))
    pairs = ((name, difflib.get_close_matches(name, declared, 1, _NEAR)) for name in _OPTION.findall(refused))
    meant = [f"{close[0]} in place of {name}" for name, close in pairs if close]
    return f"Did you mean {', '.join(meant)}? " if meant else ""


def is_no_python(raised: ScriptException) -> bool:
    """Whether a file of the source cannot be read by Python, and so by no other attempt; not what the script itself has
    made of a text (eval).
    """
    return raised.exception in _SYNTAX and _PLACE.search(raised.traceback) is not None

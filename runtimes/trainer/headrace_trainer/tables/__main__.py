"""The process: what the launcher has put into its environment is done; how it ends is told through its pipe.

An error that nobody has foreseen is told by its kind and place, without its words.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from pathlib import Path

from headrace_common.protocol.fields import Fields, decode
from headrace_common.protocol.tables import KEY_VARIABLE, parse_tables

# What the launcher tells: {"tables", "dataset", "name", "target"}.
VARIABLE = "HEADRACE_TABLES"
REFUSED, FAILED = 2, 70
_MOST_OF_A_TEXT = 8000  # a message is one line of 64 KiB; names of columns and files have no bound


def main() -> int:
    """The exit code."""
    warnings.simplefilter("ignore")  # their words may have a value, too
    try:
        return _main()
    except MemoryError:
        print("there is not enough memory for the table", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:
        _send("refused", message=f"the image has no {error.name}", hint=_IMAGE, reason="PackageMissing")
        return REFUSED
    except Exception as error:  # noqa: BLE001 - its words may have a value of a private column
        places = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
        print(f"{places}{type(error).__name__} (its words are not shown)", file=sys.stderr)
        return FAILED


_IMAGE = (
    "What is declared in spec.prepare.tables runs in the pod's image, which has to have pandas, pandera, pyarrow, "
    "phonenumberslite and python-stdnum, as the trainer image has."
)


def _main() -> int:
    from headrace_trainer.tables.refusal import Refused
    from headrace_trainer.tables.run import run

    asked = Fields(decode(os.environ[VARIABLE], VARIABLE), VARIABLE)
    tables = parse_tables(asked.object("tables"))
    key = os.fsencode(os.environ.pop(KEY_VARIABLE, ""))
    try:
        run(tables, Path(asked.text("dataset")), asked.text("name"), key, Path(asked.text("target")), _warn)
    except Refused as refused:
        _send("refused", message=refused.message, hint=refused.hint, reason=str(refused.reason))
        return REFUSED
    return 0


def _warn(subject: str, message: str) -> None:
    _send("warning", subject=subject, message=message)


def _send(kind: str, **fields: str) -> None:
    descriptor = int(os.environ.get("HEADRACE_CHILD_FD", "2"))
    told = {name: text[:_MOST_OF_A_TEXT] for name, text in fields.items()}
    os.write(descriptor, json.dumps({"type": kind, **told}).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())

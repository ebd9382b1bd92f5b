"""signature.json of a model that a program hands over, out of the model's own files: what it takes and answers, as an
export of Keras says it. A model that cannot be described is one all the same; the log says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace_common.formats import FILES, SIGNATURE
from headrace_common.own_signature import NotDescribed, is_read, own_signature
from headrace_common.signature import Signature
from headrace_trainer.launcher.log import log, unforeseen


def describe(folder: Path, formats: Sequence[str]) -> None:
    """Writes it into the folder of a model with these formats, unless the program has put one there."""
    path = folder / SIGNATURE
    if path.exists():
        return
    try:
        path.write_text(_of_all(folder, formats).as_file(), encoding="utf-8")
    except NotDescribed as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename or path} cannot be read or written: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - a fault of this look costs no model
        _say(unforeseen(error))


def _of_all(folder: Path, formats: Sequence[str]) -> Signature:
    """All formats of a model have one signature: a service may go from one to another. Left out are those whose file
    says none, such as Text, whose clients send text. Raises NotDescribed.
    """
    read = [name for name in formats if is_read(name)]
    if not read:
        raise NotDescribed(f"signatures are not read of {', '.join(formats)}")
    found: dict[str, Signature] = {}
    for name in read:
        try:
            found[name] = own_signature(name, folder / FILES[name])
        except NotDescribed as error:
            raise NotDescribed(f"{FILES[name]}: {error}") from error
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise NotDescribed(f"{first} says {found[first].as_text()}, {other} says {found[other].as_text()}")
    return found[first]


def _say(why: str) -> None:
    log(f"the model has no {SIGNATURE}, and its versions are not compared: {why}")

"""Whether a model that a program hands over can be read (`headrace_common.handed_over`), as the launcher judges it."""

from __future__ import annotations

from pathlib import Path

from headrace_common.formats import FILES
from headrace_common.handed_over import why_unusable
from headrace_trainer.launcher.log import log, unforeseen


def fault(format: str, folder: Path) -> str | None:
    """What is wrong with the model of this format in a model's `folder`; None where nothing is seen."""
    name = FILES.get(format, "")
    try:
        return why_unusable(format, folder / name, name)
    except Exception as error:  # noqa: BLE001 - a fault of this look costs no model: it is registered unseen
        log(f"{name} could not be looked at: {unforeseen(error)}")
        return None

"""HEADRACE_LOAD as the loader takes it: what cannot be understood is this pod's failure, with what to do."""

from __future__ import annotations

from headrace_common.protocol.fields import NotUnderstood
from headrace_common.protocol.load import VARIABLE, LoadRequest, parse_load
from headrace_loader.failures import LoadError, Reason


def parse(text: str | None) -> LoadRequest:
    """The request in `text`. Raises LoadError(BadConfig) that names the field."""
    try:
        if not text:
            raise NotUnderstood(f"{VARIABLE} is not set")
        return parse_load(text)
    except NotUnderstood as error:
        hint = "The operator writes HEADRACE_LOAD: run the loader and the operator of one release."
        raise LoadError(Reason.BAD_CONFIG, str(error), hint) from error

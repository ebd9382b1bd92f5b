"""What the condition FormatJudged says (pure): whether the files that a service runs are those that were judged.

An evaluation runs one of the formats that a training exports; the digest is of all of them together, so it does not
tell which one that was.
"""

from __future__ import annotations

from headrace.api.evaluate import SERVED as JUDGED
from headrace.api.modelservice import ModelService, ModelServiceStatus, Revision
from headrace.conditions import Fact
from headrace.serving.observed import Observed
from headrace.serving.served import format_of
from headrace.serving.target import named
from headrace.settings import Settings

FORMAT_JUDGED = "FormatJudged"


def judged_fact(
    service: ModelService, status: ModelServiceStatus, observed: Observed, settings: Settings
) -> Fact | None:
    """Whether it holds of every revision that serves or is tried; None where no evaluation has judged any of them."""
    known = [revision for revision in (status.stable, status.canary) if revision is not None and _judged(revision)]
    if not known:
        return None
    for revision in known:
        runs = format_of(service, revision, observed, settings)
        if runs is not None and _judged(revision) != runs:
            return False, "OtherFormatJudged", _told(service, revision, runs, settings)
    return True, "Judged", f"{named(known[0])} was judged in the format that is served, {_judged(known[0])}"


def _judged(revision: Revision) -> str:
    return revision.model.judged_format or "" if revision.model is not None else ""


def _told(service: ModelService, revision: Revision, runs: str, settings: Settings) -> str:
    judged = _judged(revision)
    seen = f"{named(revision)} was judged in the format {judged}, and what serves are its files of the format {runs}"
    if runs not in JUDGED:
        return f"{seen}, which evaluations do not run: let the checks of a rollout judge them"
    advice = _advice(service, judged, settings)
    other = f"{advice}, or " if advice else ""
    return f"{seen}, which no evaluation has run: {other}train again with evaluate.format {runs}"


def _advice(service: ModelService, judged: str, settings: Settings) -> str:
    """The change of the spec by which the judged format is served; empty: there is none that needs nothing else."""
    own = settings.runtimes.get(service.spec.runtime.name)
    if own is not None and own.format(judged) is not None:
        return f"set spec.runtime.format to {judged}"
    entries = settings.runtimes.items()
    servers = sorted(name for name, entry in entries if entry.image and entry.format(judged) is not None)
    return f"set spec.runtime.name to {' or '.join(servers)}" if servers else ""

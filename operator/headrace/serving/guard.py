"""What the condition SignatureAccepted says (pure): whether a candidate is rolled out although its inputs or outputs
are not those of the version that serves. The rule is in `signature`, what is refused in `target`.
"""

from __future__ import annotations

from headrace.api.modelservice import ModelService, ModelServiceStatus
from headrace.conditions import Fact
from headrace.serving.revision import Artifact
from headrace.serving.target import (
    ACCEPT_ANNOTATION,
    SIGNATURE_DIFFERS,
    against,
    candidate_of,
    difference_of,
    is_accepted,
    is_tried,
    named,
)

SIGNATURE_ACCEPTED = "SignatureAccepted"


def signature_fact(service: ModelService, status: ModelServiceStatus, source: Artifact) -> Fact | None:
    """None where spec.model names what serves, or nothing is known to differ."""
    stable, candidate = status.stable, candidate_of(service, status, source)
    differs = difference_of(stable, candidate) if stable is not None and candidate is not None else ""
    if stable is None or candidate is None or not differs:
        return None
    told = f"{named(candidate)}: {against(stable, differs)}"
    if is_accepted(service, candidate):
        return True, "Accepted", f"{told}; the annotation {ACCEPT_ANNOTATION} accepts that"
    if is_tried(status, candidate):
        return True, "Accepted", f"{told}; that was accepted when its rollout began"
    return False, SIGNATURE_DIFFERS, f"{told}; it is refused, unless the annotation {ACCEPT_ANNOTATION} names it"

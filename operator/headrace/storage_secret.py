"""What to do where a pod does not start because the Secret of `spec.storage` is missing (pure)."""

from __future__ import annotations

import re

FIELD = "spec.storage.secretRef.name"


def hint_if_missing(message: str, secret: str, *, own: str, namespace: str, correct: str) -> str:
    """What to do about the kubelet's message; empty where it is not about this Secret being missing.

    `own` is the Secret of this kind that `headrace tenant add` makes, `correct` how the field gets another value.
    """
    if not secret or re.search(rf'secrets? "{re.escape(secret)}" not found', message) is None:
        return ""
    add = f"headrace tenant add {namespace}"
    named = f"{FIELD} names it, and namespace {namespace} does not have it"
    if secret == own:
        return f"{named}: run: {add}"
    return f"{named}: create it, or {correct} {own}, which `{add}` creates"

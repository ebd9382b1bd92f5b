"""Texts of others in Markdown, which MLflow shows as pages."""

from __future__ import annotations

import html
import re

_MARKS = re.compile(r"([\\`*_{}\[\]#+!|~$])")


def as_text(text: str) -> str:
    """One line that is shown as it was written: no image, no link with another name, no markup."""
    return _MARKS.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))

"""Takes credentials out of texts that others wrote, before they stand in conditions, Events and logs (pure)."""

from __future__ import annotations

import re

# USER, USER:PASSWORD; a database's password may have a slash where a URL's may not.
_CREDENTIALS = re.compile(r"""(?<=://)(?:[^/\s"'<>]*|[^:/\s"'<>]*:[^\s"'<>@]*)@""")


def redacted(text: str) -> str:
    """The text with `***@` for what stands before the host of its URLs."""
    return _CREDENTIALS.sub("***@", text)

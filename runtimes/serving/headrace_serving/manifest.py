"""The copy of a model's manifest that the loader leaves beside the model: its sum is the model's digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

MANIFEST_FILE = "manifest.json"


def digest(folder: Path) -> str:
    """The digest of the model that was loaded into `folder`; empty where there is no manifest."""
    manifest = folder / MANIFEST_FILE
    return f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}" if manifest.is_file() else ""

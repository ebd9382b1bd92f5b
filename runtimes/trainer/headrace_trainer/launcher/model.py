"""The exported model's way to S3: the files, then the manifest, whose digest is the model's identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from headrace_trainer.launcher import manifest
from headrace_trainer.launcher.s3 import Patience, Place, Store

FOLDERS = {"ONNX": "onnx", "TensorFlow": "tensorflow"}


@dataclass(frozen=True)
class Model:
    """A model in S3."""

    uri: str
    digest: str
    formats: tuple[str, ...]


def upload(folder: Path, formats: tuple[str, ...], uri: str, store: Store, outage_seconds: float) -> Model:
    """Everything below `folder` to `uri`, which no other attempt writes to. Raises Failed (Storage…)."""
    place = Place.parse(uri)
    files = manifest.files_below(folder)
    text = manifest.encode(files, {"formats": {name: FOLDERS[name] for name in formats}})
    for file in files:
        store.upload(folder / file.path, place.below(file.path), Patience(outage_seconds))
    store.write(place.below(manifest.NAME), text, Patience(outage_seconds))
    return Model(uri, f"sha256:{hashlib.sha256(text).hexdigest()}", formats)

"""The inputs of a stage: what the spec says of a dataset, and what the launcher is told of it (pure)."""

from __future__ import annotations

from pathlib import Path

from headrace.api.program import Dataset
from headrace_common.protocol import config as protocol

# Where each dataset is found in a pod, by its name.
DATA = Path("/data")


def told(dataset: Dataset) -> protocol.Dataset:
    """Its address, and its digest where the spec has it."""
    digest = "" if dataset.sha256 is None else f"sha256:{dataset.sha256}"
    return protocol.Dataset(dataset.name, dataset.uri, DATA / dataset.name, digest)

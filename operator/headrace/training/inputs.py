"""The inputs of a stage: what the spec says of a dataset, what the launcher is told of it, and what its pod mounts
(pure).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headrace.api.program import Dataset
from headrace_common.protocol import config as protocol

Object = dict[str, Any]
# Where each dataset is found in a pod, by its name; and where a volume is mounted: the launcher makes a link to what
# the spec names of it, or says that it is not there.
DATA = Path("/data")
MOUNTS = Path("/headrace/data")


def told(dataset: Dataset) -> protocol.Dataset:
    """Its address; its digest where the spec has it; where its volume is mounted; how it is unpacked and divided."""
    name = dataset.name
    if (claim := dataset.persistent_volume_claim) is not None:
        path = claim.path.strip("/")
        uri = f"{protocol.VOLUME}{claim.claim_name}/{path}"
        return protocol.Dataset(name, uri, DATA / name, mount=MOUNTS / name / path)
    if dataset.image is not None:
        return protocol.Dataset(name, f"{protocol.IMAGE}{dataset.image.reference}", DATA / name, mount=MOUNTS / name)
    digest = "" if dataset.sha256 is None else f"sha256:{dataset.sha256}"
    return protocol.Dataset(
        name,
        dataset.uri or "",
        DATA / name,
        digest,
        unpack=dataset.unpack,
        shard=dataset.shard,
        access=dataset.access,
    )


def volumes_of(datasets: Iterable[protocol.Dataset]) -> Iterator[tuple[Object, Object]]:
    """A volume and its mount, for each dataset that is mounted."""
    for one in datasets:
        if one.mount is not None:
            name = f"dataset-{one.name}"
            mount = {"name": name, "mountPath": str(MOUNTS / one.name), "readOnly": True}
            yield {"name": name, **_volume(one.uri)}, mount


def _volume(uri: str) -> Object:
    if uri.startswith(protocol.IMAGE):
        return {"image": {"reference": uri.removeprefix(protocol.IMAGE)}}
    claim = uri.removeprefix(protocol.VOLUME).partition("/")[0]
    return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}

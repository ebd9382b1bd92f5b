"""What makes two preparations the same: the same code, parameters, image and inputs. Then the second one need not run.

Not part of it: the pod's environment (podTemplate), and what the versions in requirements.txt leave open. Of the
masking key there is a fingerprint: another key makes other tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_common.manifest import sha256_of
from headrace_common.protocol.config import Config, Dataset, Scalar
from headrace_trainer.launcher.datasets.objects import Object, digest_of_objects
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.source import source_files
from headrace_trainer.launcher.store.s3 import Store

_OBJECTS = "objects:"
_PROTOCOL = 1  # another one where the same would have to be done anew


@dataclass(frozen=True)
class Preparation:
    """`source` is the sha256 of each file by its path. An input is its name, and what it has: its digest where that is
    known beforehand, else which objects there are, for which nothing has to be downloaded; and how it is unpacked,
    where it is. `tables` is what is declared of them, and `masking` the fingerprint of their key. `spark` has the
    user's properties of Spark: how many executors there are, and how large, is no matter of what they make.
    """

    source: Mapping[str, str]
    entrypoint: str
    parameters: Mapping[str, Scalar]
    image: str
    inputs: Sequence[tuple[str, ...]]
    tables: Mapping[str, Any] | None = None
    masking: str = ""
    spark: Mapping[str, str] | None = None

    @property
    def key(self) -> str:
        """64 digits."""
        return _sha256(
            {
                "protocol": _PROTOCOL,
                "source": self.source,
                "entrypoint": self.entrypoint,
                "parameters": self.parameters,
                "image": self.image,
                "inputs": self.inputs,
            }
            | ({} if self.tables is None else {"tables": self.tables, "masking": self.masking})
            | ({} if self.spark is None else {"spark": dict(self.spark)})
        )

    @property
    def source_digest(self) -> str:
        """Of the code alone, `sha256:…`."""
        return f"sha256:{_sha256(self.source)}"


def preparation(config: Config, listed: Mapping[str, Sequence[Object]], masking: str = "") -> Preparation:
    """The one that the configuration asks for; `listed` are the objects of its inputs by name, as `list_inputs` has
    them. Without a script no file of the source counts.
    """
    tables = None if config.prepare is None else config.prepare.tables
    spark = None if config.prepare is None else config.prepare.spark
    return Preparation(
        source=_source(config.source) if config.entrypoint else {},
        entrypoint=config.entrypoint,
        parameters=config.parameters,
        image="" if config.prepare is None else config.prepare.image,
        inputs=[_input(one, listed) for one in config.datasets],
        tables=None if tables is None else tables.as_json(),
        masking=masking,
        spark=None if spark is None else spark.conf,
    )


def list_inputs(config: Config, store: Store, outage_seconds: float) -> Mapping[str, Sequence[Object]]:
    """The objects of the inputs by their names, as they are now; without those whose digest is known beforehand. Raises
    Failed (Data…).
    """
    return {one.name: origin_of(one, store, outage_seconds).objects(one) for one in config.datasets if not one.digest}


def _input(dataset: Dataset, listed: Mapping[str, Sequence[Object]]) -> tuple[str, ...]:
    what = dataset.digest or _OBJECTS + digest_of_objects(listed[dataset.name])
    return (dataset.name, what) if dataset.unpack is None else (dataset.name, what, dataset.unpack)


def _source(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in source_files(folder)}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

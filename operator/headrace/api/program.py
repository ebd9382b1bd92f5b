"""What a pod runs and finds: the source, its script, the script's parameters and inputs. Each stage of a TrainingJob
has these.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from headrace.api.base import Model, Rule, Schema, matching
from headrace.api.scalars import DataURI, ImageReference, Label, Sha256, Subdomain
from headrace_common.protocol.config import Access, Shard, Unpack

# Any JSON scalar: what is an object would need a property, what is a list an item, and neither may have any.
_SCALAR = {"x-kubernetes-preserve-unknown-fields": True, "minProperties": 1, "maxProperties": 0}
_NO_LIST = {"minItems": 1, "maxItems": 0}


def text_of_list(value: Any) -> Any:
    """A list is one text from here on, in JSON: as an argument of the script, and in MLflow."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


Parameter = Annotated[
    bool | int | float | str,
    BeforeValidator(text_of_list),
    Schema(
        "A string, number, true or false, or a list of them: the script is given a list as one text in JSON.",
        **_SCALAR,
        maxItems=64,
        maxLength=4096,
        items={"description": "A string, number, true or false.", **_SCALAR, **_NO_LIST, "maxLength": 60},
    ),
]

Entrypoint = Annotated[
    str,
    Schema(
        "The script to run, relative to the source, such as train.py.",
        minLength=1,
        maxLength=256,
        rules=(
            matching(
                r"^[A-Za-z0-9_.][A-Za-z0-9_./-]*$",
                "must be a relative path of letters, digits, _ . - and /, such as train.py",
            ),
            Rule(
                "!self.split('/').exists(part, part == '..')",
                "must stay within the source: no .. in the path",
            ),
        ),
    ),
]


class ConfigMapReference(Model):
    """A ConfigMap in the job's own namespace."""

    name: Annotated[Subdomain, Schema("Name of the ConfigMap.")]


class Source(Model):
    """Where the training script comes from: exactly one of its fields."""

    config_map: Annotated[
        ConfigMapReference | None,
        Schema(
            "A ConfigMap of this namespace whose keys are the files of the source, such as train.py. The packages "
            "that a file requirements.txt names are installed before the script starts.",
        ),
    ] = None
    image: Annotated[
        ImageReference | None,
        Schema(
            "An image made on top of the trainer image, with the script in /headrace/source. The pods run it; "
            "spec.image stays empty.",
            minLength=1,
        ),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.configMap) != has(self.image)",
            "set exactly one of configMap and image",
        ),
    )


class VolumeClaim(Model):
    """A PersistentVolumeClaim in the job's own namespace."""

    claim_name: Annotated[Subdomain, Schema("Name of the claim. All pods of an attempt mount it, read-only.")]
    path: Annotated[
        str,
        Schema(
            "A file or folder in the volume, such as images/2026. Empty: all of it.",
            maxLength=512,
            rules=(
                Rule(
                    "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                    "must be a path within the volume, such as images/2026: without / at its start, and without ..",
                ),
            ),
        ),
    ] = ""


class ImageVolume(Model):
    """The files of an image, or of another artifact in a registry."""

    reference: Annotated[
        ImageReference, Schema("Such as registry.example.org/data/images:2026-05. A digest pins it.", minLength=1)
    ]


class Dataset(Model):
    """An input that is there before the script starts: what `uri` names is downloaded, volumes are mounted."""

    name: Annotated[Label, Schema("The script finds the data at /data/NAME, read-only.", maxLength=40)]
    uri: Annotated[
        DataURI | None,
        Schema(
            "An object, or a prefix that ends in /, such as s3://team-a/corpus.txt, of S3, Google Cloud Storage "
            "(gs://) or Azure Blob Storage (az://CONTAINER/...); a file or folder of HDFS "
            "(webhdfs://NAMENODE:9870/...); or a file on the web, such as "
            "https://example.org/corpus.txt, with its sha256."
        ),
    ] = None
    sha256: Annotated[
        Sha256 | None,
        Schema(
            "Of a file on the web: its sha256 in 64 hex digits, as sha256sum prints it. Another file is not trained on."
        ),
    ] = None
    persistent_volume_claim: Annotated[
        VolumeClaim | None, Schema("A volume of this namespace, which is mounted and not copied.")
    ] = None
    image: Annotated[
        ImageVolume | None,
        Schema(
            "An image whose files are mounted, not copied: where the cluster has image volumes (Kubernetes 1.33 or "
            "later, with a container runtime that has them)."
        ),
    ] = None
    unpack: Annotated[
        Unpack | None,
        Schema(
            "How what uri names is unpacked, so that the script finds what is in it. Auto: by the end of each object's "
            "name: .gz and .zst become the file without that end; .tar, .tar.gz, .tgz, .tar.zst and .zip a folder of "
            "their name; all others stay as they are. Gzip, Zstd, Tar, Zip: each object is of this format, whatever "
            "its name; a tar may be compressed by gzip or zstd. Absent: the script finds what is stored."
        ),
    ] = None
    shard: Annotated[
        Shard | None,
        Schema(
            "ByWorker: each worker of strategy.workers gets its part of the objects below the prefix, each object one "
            "worker's, about as many bytes for each. Absent: each worker gets all of them."
        ),
    ] = None
    access: Annotated[
        Access | None,
        Schema(
            "Stream: nothing is copied; the script of the training reads the files as they come, by "
            "headrace_client.open_dataset(NAME). Absent: what uri names is copied before the script starts, and "
            "volumes are mounted."
        ),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.uri), has(self.persistentVolumeClaim), has(self.image)].filter(one, one).size() == 1",
            "set exactly one of uri, persistentVolumeClaim and image",
        ),
        Rule(
            "!has(self.uri) || !self.uri.startsWith('https://') || has(self.sha256)",
            "a file on the web needs its sha256: nothing else says that each attempt reads the same bytes",
            reason="FieldValueRequired",
            field_path=".sha256",
        ),
        Rule(
            "!has(self.sha256) || (has(self.uri) && self.uri.startsWith('https://'))",
            "sha256 is of a file on the web (https://): leave it out",
            field_path=".sha256",
        ),
        Rule(
            "!has(self.unpack) || has(self.uri)",
            "a volume is mounted as it is: leave unpack out",
            field_path=".unpack",
        ),
        Rule(
            "!has(self.access) || (has(self.uri) && !self.uri.startsWith('https://') && !has(self.unpack))",
            "what can be streamed are objects (s3://, gs://, az://, webhdfs://) as they are stored, no volume, no file "
            "of the web, and nothing that is unpacked: leave access out",
            field_path=".access",
        ),
        Rule(
            "!has(self.shard) || (has(self.uri) && !self.uri.startsWith('https://'))",
            "only objects below a prefix can be divided (s3://, gs://, az://, webhdfs://), no volume, and no file of "
            "the web: leave shard out",
            field_path=".shard",
        ),
    )

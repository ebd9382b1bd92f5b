"""What a pod runs and finds: the source, its script, the script's parameters and inputs. Each stage of a TrainingJob
has these.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from headrace.api.base import Model, Rule, Schema, matching
from headrace.api.scalars import DataURI, ImageReference, Label, Subdomain

Parameter = Annotated[
    bool | int | float | str,
    # Any JSON scalar: what is an object would need a property, what is a list an item, and neither may have any.
    Schema(
        "A string, number, true or false.",
        **{"x-kubernetes-preserve-unknown-fields": True},
        minProperties=1,
        maxProperties=0,
        minItems=1,
        maxItems=0,
        maxLength=4096,
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


class Dataset(Model):
    """An input that is fetched before the script starts."""

    name: Annotated[Label, Schema("The script finds the data at /data/NAME, read-only.", maxLength=40)]
    uri: Annotated[
        DataURI,
        Schema(
            "An object, or a prefix that ends in /, such as s3://team-a/corpus.txt, of S3, Google Cloud Storage "
            "(gs://) or Azure Blob Storage (az://CONTAINER/...); or a file on the web, such as https://example.org/corpus.txt, "
            "with its sha256."
        ),
    ]
    sha256: Annotated[
        str | None,
        Schema(
            "Of a file on the web: its sha256 in 64 hex digits, as sha256sum prints it. Another file is not "
            "trained on.",
            maxLength=64,
            rules=(matching("^[0-9a-f]{64}$", "must be 64 hex digits in lower case, as sha256sum prints them"),),
        ),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.uri.startsWith('https://') || has(self.sha256)",
            "a file on the web needs its sha256: nothing else says that each attempt reads the same bytes",
            reason="FieldValueRequired",
            field_path=".sha256",
        ),
        Rule(
            "self.uri.startsWith('https://') || !has(self.sha256)",
            "sha256 is of a file on the web (https://): leave it out",
            field_path=".sha256",
        ),
    )

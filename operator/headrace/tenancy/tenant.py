"""A tenant's names and rights, all from its namespace. Pure.

A namespace has no dots, so names made with dots never meet those of another tenant.
"""

import re
from dataclasses import dataclass
from typing import Any

from headrace.tenancy.errors import BadName

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")

# What a training pod needs of its bucket. Not the bucket's policy, ACL or deletion: user code runs with this.
_WRITE_OBJECTS = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_WRITE_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
_READ_OBJECTS = ("s3:GetObject",)
_READ_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation")


@dataclass(frozen=True)
class Tenant:
    namespace: str
    bucket: str

    @classmethod
    def of(cls, namespace: str, bucket: str = "") -> "Tenant":
        """The bucket has the namespace's name unless another one is given. Raises BadName."""
        if not _NAMESPACE.fullmatch(namespace):
            raise BadName(f"{namespace!r} is not the name of a namespace")
        bucket = bucket or namespace
        if not _BUCKET.fullmatch(bucket):
            raise BadName(
                f"{bucket!r} cannot be a bucket's name (3 to 63 of a-z, 0-9 and -): give another one with --bucket"
            )
        return cls(namespace, bucket)

    @property
    def writer(self) -> str:
        """The access key id of training pods."""
        return f"headrace.{self.namespace}"

    @property
    def reader(self) -> str:
        """The access key id of serving pods."""
        return f"headrace.{self.namespace}.read"

    @property
    def mlflow_user(self) -> str:
        return f"headrace.{self.namespace}"


def bucket_policy(tenant: Tenant, viewer: str = "") -> dict[str, Any]:
    """Who may do what with the tenant's bucket: nobody else anything. `viewer` is the access key id of MLflow's UI.

    The owner needs statements too: once a bucket has a policy, versitygw asks nothing else.
    """
    readers = [tenant.reader, viewer] if viewer else [tenant.reader]
    objects, bucket = f"arn:aws:s3:::{tenant.bucket}/*", f"arn:aws:s3:::{tenant.bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow([tenant.writer], _WRITE_OBJECTS, objects),
            _allow([tenant.writer], _WRITE_BUCKET, bucket),
            _allow(readers, _READ_OBJECTS, objects),
            _allow(readers, _READ_BUCKET, bucket),
        ],
    }


def _allow(principals: list[str], actions: tuple[str, ...], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": list(actions), "Resource": [resource]}

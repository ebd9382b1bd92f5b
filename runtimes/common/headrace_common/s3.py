"""The way to S3: a place in it, a client, and what an answer means. boto3 is imported by `client` only.

Who calls has a patience of their own, and so does every retry: botocore's own are off, no retry inside a retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SCHEME = "s3://"
DEFAULT_REGION = "us-east-1"
READ_SECONDS = 20.0
_CONNECT_SECONDS = 3.0
_CONNECTIONS = 32  # that are kept: beyond them each request would make one anew
_NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
_WORTH_ANOTHER_TRY = {
    "ConditionalRequestConflict",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}


@dataclass(frozen=True)
class Place:
    """A bucket and a key (or a prefix) in it."""

    bucket: str
    key: str

    @staticmethod
    def parse(uri: str) -> Place:
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        return Place(bucket, key)

    def below(self, path: str) -> Place:
        return Place(self.bucket, f"{self.key.rstrip('/')}/{path}" if self.key else path)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def is_uri(text: str) -> bool:
    """Whether it names a bucket at least."""
    return text.startswith(SCHEME) and bool(Place.parse(text).bucket)


class Meaning(Enum):
    """Of an answer that is an error."""

    NO_BUCKET = auto()
    NO_OBJECT = auto()
    TRY_AGAIN = auto()  # 5xx (but for 501, not implemented), throttling, a clock that is being set, a race of writers
    REFUSED = auto()


def status_and_code(error: Any) -> tuple[int, str]:
    """Of a botocore ClientError: HTTP's status (0 where there is none), and S3's own word."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(error.response.get("Error", {}).get("Code", ""))


def meaning_of(error: Any) -> Meaning:
    """Of a botocore ClientError."""
    status, code = status_and_code(error)
    if code == "NoSuchBucket":
        return Meaning.NO_BUCKET
    if code in _NOT_FOUND:
        return Meaning.NO_OBJECT
    is_final = (300 <= status < 500 and status not in (408, 429)) or status == 501
    return Meaning.REFUSED if is_final and code not in _WORTH_ANOTHER_TRY else Meaning.TRY_AGAIN


def bare_tag(tag: str) -> str:
    """An ETag without quotes: a store may have them in one answer, and not in another."""
    return tag.strip('"')


def client(endpoint: str | None, region: str | None, read_seconds: float = READ_SECONDS) -> Any:
    """A boto3 client with the credentials of the environment, or of a workload identity; without an endpoint for AWS'
    own. It gives an answer up after `read_seconds` without a byte. Raises ValueError and botocore's BotoCoreError.
    """
    import boto3
    from botocore.config import Config

    # A session of its own: boto3's default one would keep the first credentials that it saw.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region or DEFAULT_REGION,
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"total_max_attempts": 1},
            max_pool_connections=_CONNECTIONS,
            s3={"addressing_style": "path" if endpoint else "auto"},
            # Checksums of our own are in every manifest; not every S3 store knows the newer trailing ones.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

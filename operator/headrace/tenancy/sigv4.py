"""AWS Signature Version 4, for requests whose whole body is at hand.

Source: "Create a signed AWS API request" in AWS' IAM user guide. Signed are the host, the date, the body's hash and
whatever other headers the caller gives.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "s3"


@dataclass(frozen=True)
class AccessKey:
    id: str
    secret: str = field(repr=False)


def canonical_query(query: Mapping[str, str]) -> str:
    """The query as it has to be signed, and may be sent."""
    return "&".join(sorted(f"{_quote(key)}={_quote(value)}" for key, value in query.items()))


def sign(
    key: AccessKey,
    region: str,
    now: datetime,
    method: str,
    url: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, str]:
    """All headers to send: those given and the three that make the signature. `url` is not quoted, and without its
    query.
    """
    # Not by urlsplit: a key may have # and ? in it.
    host, _, path = url.partition("://")[2].partition("/")
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    sent = {**headers, "x-amz-date": stamp, "x-amz-content-sha256": digest}
    signed = dict(sorted({"host": host, **{name.lower(): value.strip() for name, value in sent.items()}}.items()))
    names = ";".join(signed)
    request = "\n".join(
        [
            method,
            quote(f"/{path}", safe="/-_.~"),
            canonical_query(query),
            *(f"{name}:{value}" for name, value in signed.items()),
            "",
            names,
            digest,
        ]
    )
    scope = f"{stamp[:8]}/{region}/{_SERVICE}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signing_key = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
    authorization = f"{_ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "Authorization": authorization}


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")

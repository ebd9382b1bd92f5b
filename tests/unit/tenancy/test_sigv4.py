"""The signature against AWS' published example and against botocore, which many servers are tested with."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from headrace.tenancy.sigv4 import AccessKey, canonical_query, sign

NOW = datetime(2013, 5, 24, tzinfo=UTC)
KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_example_of_the_s3_documentation_gets_its_signature():
    headers = sign(KEY, "us-east-1", NOW, "GET", "https://examplebucket.s3.amazonaws.com/", {"lifecycle": ""}, {}, b"")
    signature = headers["Authorization"].rpartition("Signature=")[2]
    assert signature == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body"),
    [
        ("PATCH", "/create-user", {}, {}, b"<Account/>"),
        ("PATCH", "/update-user", {"access": "headrace.team-a.read"}, {}, b"<MutableProps/>"),
        ("PATCH", "/team-a/create", {}, {"x-vgw-owner": "headrace.team-a"}, b""),
        ("PUT", "/team-a", {"policy": ""}, {}, b"{}"),
        ("GET", "/team-a", {"prefix": "a b/ü+~", "delimiter": "/"}, {}, b""),
    ],
)
def test_botocore_signs_the_same_request_the_same_way(monkeypatch, method, path, query, headers, body):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now.replace(tzinfo=None))
    url = f"http://127.0.0.1:7070{path}"
    ours = sign(KEY, "eu-west-1", now, method, url, query, headers, body)

    request = AWSRequest(method, f"{url}?{canonical_query(query)}" if query else url, headers=headers, data=body)
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", "eu-west-1").add_auth(request)
    assert ours["Authorization"] == request.headers["Authorization"]


def test_a_key_does_not_show_its_secret():
    assert KEY.secret not in repr(KEY)

"""Stores whose certificate is not trusted: a real TLS server of a CA that the image does not know."""

from __future__ import annotations

import json

import pytest
from web_server import WebServer

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_common.s3 import Place
from headrace_local.certificates import Authority, Subject
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.s3 import NotFound, Patience, Store

VARIABLES = {"s3": "AWS_CA_BUNDLE", "gs": "SSL_CERT_FILE", "az": "SSL_CERT_FILE"}
LONG = 600.0  # would be the test's own time limit


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(authority, monkeypatch):
    served = WebServer(authority.issue("web", Subject("web", addresses=("127.0.0.1",))))
    google = {"gcs_base_url": served.url, "disable_oauth": True, "client_email": "", "private_key": ""}
    environment = {
        "NO_PROXY": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(google | {"private_key_id": ""}),
        "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "AZURE_STORAGE_SAS_KEY": "sig=secret",
        "AZURE_STORAGE_ENDPOINT": f"{served.url}/a",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in set(VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    yield served
    served.close()


def store_at(server):
    return Store(Storage(server.url, "us-east-1"))


def failure_of(scheme, key, server, path, outage_seconds):
    dataset = Dataset("d", f"{scheme}://bucket/{key}", path)
    with pytest.raises(Failed) as raised:
        origin_of(dataset, store_at(server), outage_seconds).objects(dataset)
    return raised.value.failure


@pytest.mark.parametrize("key", ["raw/", "raw.csv"])
@pytest.mark.parametrize("scheme", VARIABLES)
def test_it_is_not_believed_nor_asked_again_and_what_to_set_is_told(server, tmp_path, capsys, scheme, key):
    failure = failure_of(scheme, key, server, tmp_path / "d", LONG)
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert f"dataset d: {scheme}://bucket/" in failure.message
    assert "certificate" in failure.message
    assert "secret" not in failure.message
    assert f"set {VARIABLES[scheme]} in podTemplate" in failure.hint
    assert "trying again" not in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize("scheme", VARIABLES)
def test_with_the_variable_that_is_named_it_is_asked(server, authority, tmp_path, monkeypatch, scheme):
    monkeypatch.setenv(VARIABLES[scheme], str(authority.files.certificate))
    dataset = Dataset("d", f"{scheme}://bucket/raw/", tmp_path / "d")
    with pytest.raises((Failed, NotFound)) as raised:  # it has no such bucket
        origin_of(dataset, store_at(server), 1.0).objects(dataset)
    assert "certificate" not in str(raised.value)
    assert server.requests


def test_one_that_an_earlier_attempt_was_answered_by_is_an_outage(server):
    store = Store(Storage(server.url, "us-east-1"), has_answered=True)
    with pytest.raises(Failed) as raised:
        store.read(Place("bucket", "key"), Patience(1.0))
    assert raised.value.failure.reason is Reason.STORAGE_UNAVAILABLE


def test_one_that_was_good_before_is_an_outage(server, authority, monkeypatch):
    """What a training has to save is not thrown away while somebody renews it."""
    store, place = store_at(server), Place("bucket", "key")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.files.certificate))
    server.files["/bucket/key"] = b"x"
    assert store.read(place, Patience(1.0)) == b"x"
    monkeypatch.delenv("AWS_CA_BUNDLE")
    store._made.clear()  # a client keeps the certificates that it was made with
    with pytest.raises(Failed) as raised:
        store.read(place, Patience(1.0))
    assert raised.value.failure.reason is Reason.STORAGE_UNAVAILABLE

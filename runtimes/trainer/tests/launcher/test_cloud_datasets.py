"""Datasets from gs:// and az://, from the stores' emulators where they are installed (`scripts/test clouds`)."""

from __future__ import annotations

import pytest
from emulators import INSTALLED, Azure, Google

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_trainer.launcher.datasets.download import download
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.pins import Pins
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.store.s3 import Store

LARGE = bytes(range(256)) * 80_000  # 20 MB: three parts
NOWHERE = {
    "gs": {
        "GOOGLE_SERVICE_ACCOUNT_KEY": '{"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": true, '
        '"client_email": "", "private_key": "", "private_key_id": ""}'
    },
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "a",
        "AZURE_STORAGE_SAS_KEY": "sig=secret",
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9/a",
    },
}
needs_emulators = pytest.mark.skipif(not INSTALLED.is_dir(), reason="scripts/environment clouds installs the emulators")


@pytest.fixture(scope="module", params=[Google, Azure], ids=["gs", "az"])
def emulator(request, tmp_path_factory):
    server = request.param(tmp_path_factory.mktemp("cloud"))
    try:
        server.start()
        server.await_up()
        yield server
    finally:
        server.stop()


@pytest.fixture
def cloud(emulator, monkeypatch):
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return emulator


@pytest.fixture
def bucket(cloud):
    name = cloud.bucket()
    for key in ("raw/a.txt", "raw/deep/b ä.txt", "raw-of-others/c.txt"):
        cloud.put(name, key, key.encode())
    cloud.put(name, "large.bin", LARGE)
    return name


@pytest.fixture
def at(cloud, bucket, tmp_path):
    return lambda key, bucket=bucket: Dataset("d", f"{cloud.scheme}://{bucket}/{key}", tmp_path / "data" / "d")


def fetch(dataset, objects=None):
    origin = origin_of(dataset, None, 2.0)
    download(dataset, origin.objects(dataset) if objects is None else objects, origin)


def failure_of(dataset, objects=None):
    with pytest.raises(Failed) as raised:
        fetch(dataset, objects)
    assert f"dataset d: {dataset.uri}" in raised.value.failure.message
    return raised.value.failure


@needs_emulators
def test_one_object_is_a_file_and_a_prefix_a_folder(at):
    dataset = at("large.bin")
    fetch(dataset)
    assert dataset.path.read_bytes() == LARGE
    dataset.path.unlink()
    for prefix in ("raw", "raw/"):
        dataset = at(prefix)
        fetch(dataset)
        found = {path.relative_to(dataset.path).as_posix(): path.read_text() for path in dataset.path.rglob("*.txt")}
        assert found == {"a.txt": "raw/a.txt", "deep/b ä.txt": "raw/deep/b ä.txt"}
        dataset.path.chmod(0o755)


@needs_emulators
def test_the_empty_object_of_a_folder_is_no_file(at, cloud, bucket):
    cloud.put(bucket, "marked/", b"")
    cloud.put(bucket, "marked/deep/", b"")
    cloud.put(bucket, "marked/deep/empty.txt", b"")
    dataset = at("marked/")
    fetch(dataset)
    assert [path.name for path in dataset.path.rglob("*") if path.is_file()] == ["empty.txt"]


@needs_emulators
def test_a_key_below_that_the_library_has_no_word_for_is_final(at, cloud, bucket):
    cloud.put(bucket, "odd//x.txt", b"x")
    failure = failure_of(at("odd/"))
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "//" in failure.hint


@needs_emulators
def test_what_is_not_there_is_one_failure_that_names_it(at, cloud):
    missing = failure_of(at("nothing/"))
    assert missing.reason is Reason.DATASET_NOT_FOUND
    if cloud.scheme == "az":  # the other emulator answers 500
        assert failure_of(at("raw/", bucket="nobody")).reason is Reason.DATASET_NOT_FOUND


@needs_emulators
@pytest.mark.parametrize("change", ["written anew", "gone"])
def test_what_has_changed_since_it_was_listed_is_named(at, cloud, bucket, change):
    dataset = at("raw/")
    listed = origin_of(dataset, None, 2.0).objects(dataset)
    if change == "gone":
        cloud.delete(bucket, "raw/a.txt")
    else:
        cloud.put(bucket, "raw/a.txt", b"raw/b.txt")
    failure = failure_of(dataset, listed)
    assert failure.reason is Reason.DATASET_CHANGED
    assert f"raw/a.txt {change}" in failure.message.replace("is gone", "gone").replace("was written", "written")


@needs_emulators
def test_all_attempts_read_what_the_first_one_found(at, cloud, bucket, s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "root-access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "root-secret")
    own, store = s3.bucket(), Store(Storage(s3.endpoint, "us-east-1"))
    inputs = f"s3://{own}/ckpt/inputs"
    first = Pins(inputs, is_chief=True, store=store, outage_seconds=2.0).objects((at("raw/"),))
    cloud.put(bucket, "raw/c.txt", b"added since")
    assert Pins(inputs, is_chief=True, store=store, outage_seconds=2.0).objects((at("raw/"),)) == first


@needs_emulators
def test_credentials_that_do_not_suffice_are_final(at, cloud, monkeypatch):
    if cloud.scheme == "gs":
        pytest.skip("its emulator asks for none")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aGFsbG8=")
    for key in ("raw/", "large.bin"):
        failure = failure_of(at(key))
        assert failure.reason is Reason.DATASET_FORBIDDEN
        assert "AZURE_STORAGE_ACCOUNT_KEY" in failure.hint
        assert "aGFsbG8=" not in failure.message


@pytest.mark.parametrize("scheme", ["gs", "az"])
@pytest.mark.parametrize("key", ["raw/", "raw"])
def test_a_store_that_stays_away_is_said_without_what_may_be_a_key(tmp_path, monkeypatch, capsys, scheme, key):
    for name, value in NOWHERE[scheme].items():
        monkeypatch.setenv(name, value)
    failure = failure_of(Dataset("d", f"{scheme}://bucket/{key}", tmp_path / "d"))
    assert failure.reason is Reason.STORAGE_UNAVAILABLE
    said = failure.message + capsys.readouterr().err
    assert "does not answer, trying again" in said
    assert "secret" not in said
    assert "RetryError" not in said


def test_azure_without_an_account_is_final_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    failure = failure_of(Dataset("d", "az://container/raw/", tmp_path / "d"))
    assert failure.reason is Reason.DATASET_FORBIDDEN
    assert "AZURE_STORAGE_ACCOUNT_NAME" in failure.hint


@pytest.mark.parametrize("key", ["raw//x", "raw/../x", "./"])
def test_an_address_that_the_library_has_no_word_for_is_final(tmp_path, monkeypatch, key):
    for name, value in NOWHERE["gs"].items():
        monkeypatch.setenv(name, value)
    assert failure_of(Dataset("d", f"gs://bucket/{key}", tmp_path / "d")).reason is Reason.DATASET_FORBIDDEN

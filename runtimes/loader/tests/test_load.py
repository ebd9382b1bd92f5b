"""The loader as a process against a real S3 server."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

ONNX_PATHS = {"onnx/model.onnx", "onnx/model.onnx.data", "signature.json", "manifest.json"}


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        "onnx/model.onnx": b"onnx " * 1000,
        "onnx/model.onnx.data": bytes(range(256)) * 20_000,
        "tensorflow/saved_model.pb": b"graph " * 500,
        "tensorflow/variables/variables.index": b"",
        "signature.json": b'{"inputs":[],"outputs":[]}',
    }


def assert_failed(load, failure_class: str, reason: str, code: int) -> None:
    assert load.code == code
    record = load.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Failed", failure_class, reason)
    assert record["message"]
    assert record["hint"]
    assert not load.target.exists()
    assert os.listdir(load.target.parent) == [], "nothing is left behind"


def test_a_model_is_loaded_and_verified_and_found_again_without_storage(s3, publisher, loader, files):
    model = publisher.publish(files)

    first = loader.run(model)

    assert first.code == 0
    assert set(first.files()) == ONNX_PATHS
    assert all(first.files()[path] == files[path] for path in ONNX_PATHS - {"manifest.json"})
    record = first.record
    assert record.pop("seconds") > 0
    size = sum(len(files[path]) for path in ONNX_PATHS - {"manifest.json"})
    assert record == {
        "protocol": 1,
        "outcome": "Succeeded",
        "digest": model.digest,
        "bytes": size,
        "fetchedBytes": size,
    }

    s3.stop()
    again = loader.run(model)

    assert again.code == 0
    assert (again.record["bytes"], again.record["fetchedBytes"]) == (size, 0)


def test_a_layout_for_tensorflow_serving(publisher, loader):
    load = loader.run(publisher.publish(), formats=["TensorFlow"], layout={"TensorFlow": "tensorflow/1"})

    assert load.code == 0
    assert set(load.files()) == {
        "tensorflow/1/saved_model.pb",
        "tensorflow/1/variables/variables.index",
        "signature.json",
        "manifest.json",
    }


def test_without_a_digest_the_one_found_is_reported(publisher, loader):
    model = publisher.publish()
    load = loader.run(model, digest=None)
    assert load.code == 0
    assert load.record["digest"] == model.digest


@pytest.mark.parametrize("damage", ["changed", "truncated", "extra", "gone"])
def test_what_an_earlier_start_left_is_used_only_when_it_is_complete(publisher, loader, files, damage):
    model = publisher.publish(files)
    first = loader.run(model)
    victim = first.target / "onnx" / "model.onnx"
    match damage:
        case "changed":
            victim.write_bytes(b"0" * len(files["onnx/model.onnx"]))
        case "truncated":
            victim.write_bytes(b"onnx")
        case "extra":
            (first.target / "extra").write_bytes(b"")
        case _:
            victim.unlink()

    again = loader.run(model)

    assert again.code == 0
    assert again.record["fetchedBytes"] > 0
    assert set(again.files()) == ONNX_PATHS
    assert victim.read_bytes() == files["onnx/model.onnx"]


def test_an_overwritten_model_is_refused_before_its_manifest_is_used(publisher, loader):
    expected = publisher.publish()
    publisher.put(f"{expected.prefix}/manifest.json", b"not even a manifest")
    assert_failed(loader.run(expected), "Data", "DigestMismatch", 2)


def test_a_changed_file_of_the_same_size_is_refused(publisher, loader, files):
    model = publisher.publish(files)
    publisher.put(f"{model.prefix}/onnx/model.onnx.data", files["onnx/model.onnx.data"][::-1])
    assert_failed(loader.run(model), "Data", "FileCorrupt", 2)


@pytest.mark.parametrize("change", [b"", b"onnx", b"onnx " * 1001])
def test_a_file_of_another_size_is_refused(publisher, loader, change):
    model = publisher.publish()
    publisher.put(f"{model.prefix}/onnx/model.onnx", change)
    assert_failed(loader.run(model), "Data", "FileCorrupt", 2)


def test_a_missing_file_is_refused(publisher, loader):
    model = publisher.publish()
    publisher.delete(f"{model.prefix}/onnx/model.onnx")
    assert_failed(loader.run(model), "Data", "FileNotFound", 2)


def test_a_missing_manifest_is_refused(publisher, loader):
    model = publisher.publish()
    publisher.delete(f"{model.prefix}/manifest.json")
    assert_failed(loader.run(model), "Data", "ManifestNotFound", 2)


def test_a_manifest_that_leads_out_of_the_folder_is_refused(publisher, loader):
    content = b"evil"
    checksum = hashlib.sha256(content).hexdigest()
    entry = f'{{"path":"onnx/../../../evil","sha256":"{checksum}","size":4}}'
    manifest = f'{{"files":[{entry}],"formats":{{"ONNX":"onnx"}},"protocol":1}}'.encode()
    assert_failed(loader.run(publisher.publish({}, manifest)), "Data", "ManifestInvalid", 2)


def test_a_huge_manifest_is_refused(publisher, loader):
    assert_failed(loader.run(publisher.publish({}, b" " * (4 * 1024**2 + 1))), "Data", "TooLarge", 2)


def test_a_model_over_the_limit_is_refused(publisher, loader):
    assert_failed(loader.run(publisher.publish(), maxBytes=1000), "Data", "TooLarge", 2)


def test_a_format_that_the_model_does_not_have_is_refused(publisher, loader):
    assert_failed(loader.run(publisher.publish(), formats=["PMML"]), "Data", "FormatNotFound", 2)


def test_wrong_credentials_are_reported_at_once(publisher, loader):
    assert_failed(loader.run(publisher.publish(), secret="wrong"), "Storage", "StorageForbidden", 4)


def test_a_secret_without_one_of_the_keys_is_told_with_the_field_and_both_keys(publisher, loader):
    load = loader.run(publisher.publish(), secret="")

    assert_failed(load, "Storage", "StorageForbidden", 4)
    assert "missing: AWS_SECRET_ACCESS_KEY" in load.record["message"]
    assert "spec.storage.secretRef.name" in load.record["hint"]
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in load.record["hint"]


def test_a_missing_bucket_is_reported_at_once(publisher, loader):
    load = loader.run(publisher.publish(), uri="s3://no-such-bucket/model")
    assert_failed(load, "Storage", "BucketNotFound", 4)


def test_storage_that_is_away_and_comes_back_is_waited_for(s3, publisher, loader, files):
    model = publisher.publish(files)
    s3.stop()
    process = loader.start(model, deadlineSeconds=60)
    loader.await_log("next try")
    s3.start()

    load = loader.finish(process)

    assert load.code == 0
    assert load.files()["onnx/model.onnx"] == files["onnx/model.onnx"]


def test_storage_that_stays_away_ends_the_load_at_the_deadline(s3, publisher, loader):
    model = publisher.publish()
    s3.stop()
    assert_failed(loader.run(model, deadlineSeconds=1), "Storage", "StorageUnavailable", 4)


def test_a_bad_request_is_a_failure_of_the_configuration(publisher, loader):
    assert_failed(loader.run(publisher.publish(), digset="x"), "Config", "BadConfig", 2)


def test_sigterm_ends_the_load_and_leaves_nothing(s3, publisher, loader):
    model = publisher.publish()
    s3.stop()
    process = loader.start(model)
    loader.await_log("next try")
    process.send_signal(signal.SIGTERM)

    load = loader.finish(process)

    assert load.code == 143
    assert "Traceback" not in load.log
    assert os.listdir(load.target.parent) == []


def test_no_secret_is_in_the_log(publisher, loader):
    load = loader.finish(loader.start(publisher.publish(), secret="a-wrong-secret"))
    assert load.code == 4
    assert "a-wrong-secret" not in load.log
    assert "Traceback" not in load.log

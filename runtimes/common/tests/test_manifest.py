"""A manifest has one form, by which its folder's digest is known, and leads nowhere else."""

from __future__ import annotations

import json

import pytest

from headrace_common import manifest

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_text("x")
    (tmp_path / "a").write_text("")
    return tmp_path


def test_a_manifest_has_one_form(folder):
    text = manifest.encode(manifest.files_below(folder), {"formats": {"TensorFlow": "tensorflow", "ONNX": "onnx"}})
    assert text.decode() == (
        f'{{"files":[{{"path":"a","sha256":"{EMPTY}","size":0}},{{"path":"onnx/model.onnx","sha256":"{X}","size":1}}],'
        '"formats":{"ONNX":"onnx","TensorFlow":"tensorflow"},"protocol":1}'
    )


def test_what_was_written_is_read(folder):
    files, fields = manifest.files_below(folder), {"step": 7, "base": {"epoch": 1}}
    assert manifest.decode(manifest.encode(files, fields)) == (files, fields)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
def test_a_manifest_that_would_write_elsewhere_is_refused(path):
    text = json.dumps({"files": [{"path": path, "sha256": EMPTY, "size": 0}], "protocol": 1}).encode()
    with pytest.raises(manifest.Invalid, match="leads outside of its folder"):
        manifest.decode(text)


def test_a_name_that_only_some_volumes_take_is_read_all_the_same():
    """A script may call the files of its checkpoint as it likes."""
    files = (manifest.File("step\\7:\n", EMPTY, 0),)
    assert manifest.decode(manifest.encode(files, {}))[0] == files


def test_the_digest_is_the_manifests_sum_and_empty_without_one(tmp_path):
    assert manifest.digest_below(tmp_path) == ""
    (tmp_path / "manifest.json").write_bytes(b"{}")
    expected = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert manifest.digest_below(tmp_path) == manifest.digest_of(b"{}") == expected

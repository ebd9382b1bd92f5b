"""What lies at a path: which files are a model's, and what is said of what is none."""

from __future__ import annotations

import onnx
import pytest

from given_models import save_onnx, saved_model
from headrace.adding.errors import CannotAdd
from headrace.adding.given import look


def test_an_onnx_file_has_its_weights_with_it_and_nothing_else(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", "a.bin")
    (tmp_path / "notes.txt").write_text("mine")
    given = look(path)
    assert [file.path for file in given.files] == ["a.bin", "a.onnx"]
    assert look(tmp_path).left_out == ("notes.txt",)
    assert given.digest == look(tmp_path).digest


def test_other_bytes_have_another_digest(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", "a.bin")
    before = look(path).digest
    (tmp_path / "a.bin").write_bytes(b"\x01" * 40_000)
    assert look(path).digest != before


def test_a_saved_model_is_all_of_its_folder(tmp_path):
    folder = saved_model(tmp_path / "saved")
    (folder / "assets").mkdir()
    (folder / "assets" / "words.txt").write_text("a b c")
    given = look(folder)
    assert (given.format, [file.path for file in given.files]) == ("TensorFlow", ["assets/words.txt", "saved_model.pb"])


@pytest.mark.parametrize(("signature", "has"), [(b"", "it has none"), (b"train", "it has only train")])
def test_a_saved_model_without_the_signature_that_servers_ask_for_is_refused(tmp_path, signature, has):
    with pytest.raises(CannotAdd, match=f"no signature serving_default \\({has}\\)"):
        look(saved_model(tmp_path / "saved", signature))


def test_what_is_wrong_is_told_with_the_file_before_anything_is_sent(tmp_path):
    def told(path, **limits):
        with pytest.raises(CannotAdd) as refused:
            look(path, **limits)
        return str(refused.value)

    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"the bytes")
    assert told(broken) == f"{broken} is no ONNX model: it is no protobuf"
    assert told(tmp_path / "none.onnx").startswith(f"there is no {tmp_path / 'none.onnx'}: name an ONNX file")
    (tmp_path / "empty").mkdir()
    assert "has neither an ONNX file (*.onnx) nor saved_model.pb" in told(tmp_path / "empty")

    path = save_onnx(tmp_path / "a.onnx", "a.bin")
    assert told(tmp_path) == f"{tmp_path} has several ONNX files (a.onnx, broken.onnx): name the one that is meant"
    assert "the model has " in told(path, max_bytes=1000)
    assert "at most 1000 are added" in told(path, max_bytes=1000)
    loaded = onnx.load(path, load_external_data=False)
    loaded.graph.initializer[0].external_data[0].value = "../a.bin"
    path.write_bytes(loaded.SerializeToString())
    assert told(path) == f"{path}: its weights are in ../a.bin, outside of its folder"
    loaded.graph.initializer[0].external_data[0].value = "gone.bin"
    path.write_bytes(loaded.SerializeToString())
    assert told(path) == f"{path}: its weights are in gone.bin, which was not handed over with it"

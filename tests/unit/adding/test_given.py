"""What lies at a path: which files are a model's, and what is said of what is none."""

from __future__ import annotations

import os
import re

import onnx
import pytest

from given_models import decoder, save_onnx, saved_model
from headrace.adding import given
from headrace.adding.errors import CannotAdd
from headrace.adding.given import look, what_it_says
from headrace_common import manifest, model_manifest
from headrace_common.manifest import File


def test_an_onnx_file_has_its_weights_with_it_and_nothing_else(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", "a.bin")
    (tmp_path / "notes.txt").write_text("mine")
    found = look(path)
    assert [file.path for file in found.files] == ["a.bin", "a.onnx"]
    assert look(tmp_path).left_out == ("notes.txt",)
    assert found.digest == look(tmp_path).digest


def test_what_it_takes_and_answers_is_said_or_why_that_is_not_known(tmp_path):
    path = save_onnx(tmp_path / "a.onnx")
    assert what_it_says(look(path)) == '{"inputs":{"x":"FP32 [-1,100]"},"outputs":{"y":"FP32 [-1,100]"}}'
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    path.write_bytes(model.SerializeToString())
    said = what_it_says(look(path))
    assert said == "its inputs and outputs are not described, and its versions not compared: output 'y' has no shape"
    assert "not described" in what_it_says(look(saved_model(tmp_path / "saved")))


def test_other_bytes_have_another_digest(tmp_path):
    path = save_onnx(tmp_path / "a.onnx", "a.bin")
    before = look(path).digest
    (tmp_path / "a.bin").write_bytes(b"\x01" * 40_000)
    assert look(path).digest != before


def test_a_saved_model_is_all_of_its_folder(tmp_path):
    folder = saved_model(tmp_path / "saved")
    (folder / "assets").mkdir()
    (folder / "assets" / "words.txt").write_text("a b c")
    found = look(folder)
    assert (found.format, [file.path for file in found.files]) == ("TensorFlow", ["assets/words.txt", "saved_model.pb"])


@pytest.mark.parametrize(("signature", "has"), [(b"", "it has none"), (b"train", "it has only train")])
def test_a_saved_model_without_the_signature_that_servers_ask_for_is_refused(tmp_path, signature, has):
    with pytest.raises(CannotAdd, match=f"no signature serving_default \\({has}\\)"):
        look(saved_model(tmp_path / "saved", signature))


def test_a_decoder_is_all_of_its_folder(tmp_path):
    folder = decoder(tmp_path / "writer")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    found = look(folder)
    assert (found.format, [file.path for file in found.files]) == (
        "Text",
        ["chat_template.jinja", "genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"],
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer.json", None, "tokenizer.json, which it needs, was not handed over with it"),
        ("model.onnx", None, "model.onnx, which it needs, was not handed over with it"),
        ("model.onnx", b"the bytes", "model.onnx is no ONNX model: it is no protobuf"),
        ("model.onnx.data", None, "its weights are in model.onnx.data, which was not handed over with it"),
        ("genai_config.json", b"[1]", "it is no JSON with model.decoder in it"),
        (
            "genai_config.json",
            b'{"model": {"decoder": {"filename": "../a.onnx"}}}',
            "../a.onnx, which it needs, was not",
        ),
        ("genai_config.json", b'{"model": {"decoder": {"filename": 3}}}', "3, which it needs, was not"),
    ],
)
def test_a_decoder_whose_folder_is_not_whole_is_refused(tmp_path, name, content, words):
    folder = decoder(tmp_path / "writer")
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(CannotAdd) as refused:
        look(folder)
    assert words in str(refused.value)


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
    assert "has neither an ONNX file (*.onnx) nor saved_model.pb or genai_config.json" in told(tmp_path / "empty")

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


def refusal(path):
    with pytest.raises(CannotAdd) as refused:
        look(path)
    return str(refused.value)


@pytest.mark.parametrize("made", ["linked folder", "link out", "broken link", "pipe"])
def test_of_a_saved_model_nothing_is_passed_over_and_nothing_from_elsewhere_is_taken(tmp_path, made):
    folder = saved_model(tmp_path / "saved")
    (folder / "assets").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "key").write_text("mine")
    bad = folder / "assets" / "bad"
    if made == "pipe":
        os.mkfifo(bad)
    else:
        bad.symlink_to({"linked folder": "../../mine", "link out": "../../mine/key", "broken link": "gone"}[made])
    said = refusal(folder)
    assert str(bad) in said
    assert {
        "linked folder": "is a link to a folder: `cp -rL` makes a copy",
        "link out": "leads out of",
        "broken link": "is a link to nothing: `cp -rL` makes a copy",
        "pipe": "is no regular file",
    }[made] in said


def test_weights_from_elsewhere_are_refused_too(tmp_path):
    path = save_onnx(tmp_path / "model" / "a.onnx", "a.bin")
    weights = path.with_name("a.bin")
    weights.rename(tmp_path / "a.bin")
    weights.symlink_to("../a.bin")
    assert f"{weights} is, or lies behind, a link that leads out of {path.parent}: `cp -rL`" in refusal(path)
    weights.unlink()
    weights.symlink_to("gone")
    assert f"{weights} is a link to nothing" in refusal(path.parent)
    weights.unlink()
    os.mkfifo(weights)
    assert f"{weights} is no regular file" in refusal(path)


def test_a_link_to_a_file_of_the_same_folder_is_that_file(tmp_path):
    folder = saved_model(tmp_path / "saved")
    (folder / "same").symlink_to("saved_model.pb")
    one, other = look(folder).files
    assert one.sha256 == other.sha256


def test_a_file_that_is_named_itself_may_be_a_link(tmp_path):
    path = save_onnx(tmp_path / "a.onnx")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.onnx").symlink_to(path)
    assert [file.path for file in look(tmp_path / "elsewhere" / "b.onnx").files] == ["b.onnx"]


def test_names_that_no_version_can_have_are_refused_before_anything_is_sent(tmp_path):
    folder = saved_model(tmp_path / "saved")
    (folder / ("a" * 251)).touch()
    assert "at most 250 bytes for each name, and 700 for all of its path" in refusal(folder)
    (folder / ("a" * 251)).unlink()
    (deep := folder / ("a" * 240) / ("b" * 240) / ("c" * 240)).mkdir(parents=True)
    (deep / "d").touch()
    assert "at most 250 bytes for each name, and 700 for all of its path" in refusal(folder)


def test_a_version_has_room_for_all_files_and_its_own(tmp_path, monkeypatch):
    assert given.MAX_FILES < model_manifest.MAX_FILES
    folder = saved_model(tmp_path / "saved")
    monkeypatch.setattr(given, "MAX_FILES", 1)
    assert look(folder)
    (folder / "more").touch()
    assert refusal(folder) == f"{folder} has 2 files, and at most 1 are added"


def test_a_list_of_files_that_no_loader_reads_is_refused_with_both_numbers(tmp_path, monkeypatch):
    folder = saved_model(tmp_path / "saved")
    (folder / "assets").mkdir()
    (folder / "assets" / ("ä" * 100)).touch()
    found = look(folder)
    monkeypatch.setattr(given, "MAX_MANIFEST", 4400)
    said = refusal(folder)
    assert "the list of its 2 files would have 45" in said
    assert "and who loads a model reads at most 4400: have fewer files, or shorter names" in said
    # It is no less than the manifest of the version.
    told = int(re.search(r"would have (\d+) bytes", said)[1])
    version = [File(f"tensorflow/{file.path}", file.sha256, file.size) for file in found.files]
    assert told - 4096 >= len(manifest.encode(tuple(version), {"formats": {"TensorFlow": "tensorflow"}}))


def test_weights_that_are_called_as_the_model_in_a_version_are_refused(tmp_path):
    assert "its weights are in model.onnx" in refusal(save_onnx(tmp_path / "a.onnx", "model.onnx"))

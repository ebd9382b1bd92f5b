"""From the command line to readiness: folders that are refused, each with one reason, and how much memory is taken."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import pytest
import text_models
from onnx import helper, numpy_helper

from headrace_common import cgroup
from headrace_serving.failures import Reason, StartError
from headrace_text import folder, model, settings


def loaded(path, *flags):
    return model._load(settings.parse(["--model-dir", str(path), "--model-name", "m", "--threads", "1", *flags]))


@pytest.fixture
def changed(cached_model, tmp_path):
    """A copy of the folder, in which `change` has been at work."""

    def copy(change):
        target = tmp_path / "model"
        shutil.copytree(cached_model, target)
        change(target / "text")
        return target

    return copy


def setting(name, value, *, takes_away=False):
    """A change of the config: of a field by its path."""

    def change(below):
        path = below / "genai_config.json"
        content = json.loads(path.read_text())
        *parents, last = name.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place.pop(last) if takes_away else place.__setitem__(last, value)
        path.write_text(json.dumps(content))

    return change


def config(**fields):
    """Changes of the config; of fields by their path, None takes one away."""
    changes = [setting(name, value, takes_away=value is None) for name, value in fields.items()]

    def change(below):
        for each in changes:
            each(below)

    return change


def without(name):
    return lambda below: (below / name).unlink()


def containing(name, content):
    return lambda below: (below / name).write_bytes(content)


def graph(change):
    def rewrite(below):
        path = below / "model.onnx"
        proto = onnx.load(path)
        change(proto)
        path.write_bytes(proto.SerializeToString())

    return rewrite


def newer(proto):
    proto.opset_import[0].version = 99


def external(proto):
    weight = proto.graph.initializer[-1]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret")


def one_more_input(proto):
    proto.graph.input.append(helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1]))
    proto.graph.node.append(helper.make_node("Identity", ["image"], ["unused"]))


def wrong_lengths(proto):
    """The cache is taken to have a token more than it has."""
    [used] = [node for node in proto.graph.node if node.op_type == "Sub"]
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(0), "none"))
    used.input[1] = "none"


def flat_logits(proto):
    """One number a vocabulary's token, of no text."""
    [last] = [node for node in proto.graph.node if node.output[0] == "logits"]
    last.output[0] = "all_logits"
    proto.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "flat"))
    proto.graph.node.append(helper.make_node("Reshape", ["all_logits", "flat"], ["logits"]))
    [place] = [number for number, output in enumerate(proto.graph.output) if output.name == "logits"]
    proto.graph.output[place].CopyFrom(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n"]))


REFUSED = {
    "no config": (without("genai_config.json"), Reason.MODEL_NOT_FOUND, "no text/genai_config.json"),
    "no graph": (without("model.onnx"), Reason.MODEL_INCOMPLETE, "no text/model.onnx"),
    "no tokenizer": (without("tokenizer.json"), Reason.MODEL_INCOMPLETE, "no text/tokenizer.json"),
    "config is no JSON": (containing("genai_config.json", b"{"), Reason.MODEL_CORRUPT, "is not JSON"),
    "config is a list": (containing("genai_config.json", b"[]"), Reason.MODEL_CORRUPT, "must be an object"),
    "no context_length": (config(model__context_length=None), Reason.MODEL_CORRUPT, "model.context_length"),
    "vocab_size is a text": (config(model__vocab_size="9"), Reason.MODEL_CORRUPT, "model.vocab_size"),
    "an end that is no token": (config(model__eos_token_id=[99999]), Reason.MODEL_CORRUPT, "model.eos_token_id"),
    "a graph elsewhere": (config(model__decoder__filename="../x.onnx"), Reason.MODEL_CORRUPT, "has the part '..'"),
    "an input of images": (
        config(model__decoder__inputs__pixel_values="p"),
        Reason.MODEL_UNSUPPORTED,
        "'pixel_values'; known are input_ids",
    ),
    "names without %d": (
        config(model__decoder__inputs__past_key_names="past"),
        Reason.MODEL_CORRUPT,
        "model.decoder.inputs.past_key_names must be a name with %d",
    ),
    "no names of what comes out": (
        config(model__decoder__outputs__present_key_names=None),
        Reason.MODEL_CORRUPT,
        "model.decoder.outputs.present_key_names must be a name with %d",
    ),
    "an input that the graph does not have": (
        config(model__decoder__inputs__input_ids="ids"),
        Reason.SIGNATURE_MISMATCH,
        "'ids', which the graph does not have",
    ),
    "an input that the config does not name": (
        graph(one_more_input),
        Reason.SIGNATURE_MISMATCH,
        "wants the input 'image'",
    ),
    "more layers than there are": (
        config(model__decoder__num_hidden_layers=5),
        Reason.SIGNATURE_MISMATCH,
        "'past_key_values.2.key'",
    ),
    "billions of layers": (
        config(model__decoder__num_hidden_layers=2**31 - 1),
        Reason.SIGNATURE_MISMATCH,
        "2147483647 in num_hidden_layers; the graph has 6 inputs",
    ),
    "tokenizer is none": (containing("tokenizer.json", b"{}"), Reason.MODEL_CORRUPT, "tokenizer.json is no tokenizer"),
    "tokenizer of another model": (
        config(model__vocab_size=100, model__eos_token_id=9),
        Reason.SIGNATURE_MISMATCH,
        "100",
    ),
    "vocabulary of another graph": (config(model__vocab_size=9999), Reason.SIGNATURE_MISMATCH, "9999"),
    "graph is junk": (containing("model.onnx", b"junk" * 99), Reason.MODEL_CORRUPT, "text/model.onnx cannot be loaded"),
    "opset too new": (graph(newer), Reason.MODEL_UNSUPPORTED, "opset 99 of ai.onnx; ONNX Runtime takes at most 28"),
    "weights outside of the folder": (graph(external), Reason.MODEL_INCOMPLETE, "outside its folder"),
    "lengths that are wrong": (graph(wrong_lengths), Reason.MODEL_UNSUPPORTED, "other logits for a text"),
    "logits of no text": (graph(flat_logits), Reason.MODEL_UNSUPPORTED, "its logits have the shape"),
    "template is none": (
        containing("chat_template.jinja", b"{% for %}"),
        Reason.MODEL_CORRUPT,
        "chat template cannot be read",
    ),
    "tokenizer_config is no JSON": (containing("tokenizer_config.json", b"{"), Reason.MODEL_CORRUPT, "is not JSON"),
}


@pytest.mark.parametrize(("change", "reason", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_folder_is_refused_with_one_reason_and_a_hint(changed, change, reason, words):
    with pytest.raises(StartError) as caught:
        loaded(changed(change))
    assert (caught.value.reason, bool(caught.value.hint)) == (reason, True), caught.value.message
    assert words in caught.value.message


def test_a_cache_that_grows_with_each_token_is_refused(tmp_path):
    with pytest.raises(StartError) as caught:
        loaded(text_models.write(tmp_path / "model", text_models.growing()))
    assert caught.value.reason is Reason.MODEL_FAILS
    assert "GroupQueryAttention" in caught.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_decoder_whose_logits_are_no_numbers_does_not_get_ready(tmp_path, value):
    written = text_models.cached()
    last = written.model.graph.initializer[-1]  # the matrix before the logits
    last.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(last), value), last.name))

    with pytest.raises(StartError, match="not finite numbers") as error:
        loaded(text_models.write(tmp_path / "model", written))

    assert error.value.reason is Reason.MODEL_FAILS


def test_a_token_that_may_never_come_is_no_fault(tmp_path):
    """Its logit is minus infinity, for any text."""
    written = text_models.cached()
    graph = written.model.graph
    [last] = [node for node in graph.node if node.output[0] == "logits"]
    last.output[0] = "all_logits"
    banned = np.zeros(text_models.VOCABULARY, np.float32)
    banned[7] = -np.inf
    graph.initializer.append(numpy_helper.from_array(banned, "banned"))
    graph.node.append(helper.make_node("Add", ["all_logits", "banned"], ["logits"]))

    loaded(text_models.write(tmp_path / "model", written))


@pytest.mark.parametrize("keeps_axis", [True, False])
@pytest.mark.parametrize("kind", [text_models.cached, text_models.uncached])
def test_logits_of_the_last_token_only_are_enough(tmp_path, cached_model, kind, keeps_axis):
    found = loaded(text_models.write(tmp_path / "model", text_models.last_only(kind(), keeps_axis=keeps_axis))).decoder
    text = list(range(20, 60))
    expected = loaded(cached_model).decoder.read(0, text, 0, len(text))
    assert np.abs(found.read(0, text, 0, len(text)) - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("keeps_axis", [True, False])
def test_logits_of_the_last_token_only_are_refused_where_texts_are_filled_up_behind_their_end(tmp_path, keeps_axis):
    written = text_models.last_only(text_models.uncached(), keeps_axis=keeps_axis, length=text_models.CONTEXT)
    with pytest.raises(StartError) as caught:
        loaded(text_models.write(tmp_path / "model", written))
    assert caught.value.reason is Reason.MODEL_UNSUPPORTED
    assert "of one token only" in caught.value.message
    assert "Export it with logits (texts, tokens, vocabulary)" in caught.value.hint


def test_a_folder_without_tokenizer_config_has_no_chat_and_completes(changed):
    found = loaded(changed(without("tokenizer_config.json")))
    assert found.chat is None


def test_positions_that_the_config_names_and_the_graph_does_without_are_left_out(changed):
    assert loaded(changed(config(model__decoder__inputs__position_ids="position_ids"))).config.position_ids is None


@pytest.mark.parametrize("pad", [None, -1, [], [-1, 7], 10**9, "none"], ids=str)
def test_a_pad_that_is_no_token_is_none(changed, pad):
    expected = 7 if isinstance(pad, list) and 7 in pad else 0
    assert folder.read(changed(setting("model__pad_token_id", pad))).pad_token == expected


@pytest.mark.parametrize(
    "field",
    [
        "search",
        "search__temperature",
        "search__do_sample",
        "model__eos_token_id",
        "model__decoder__filename",
        "model__decoder__inputs__position_ids",
        "model__decoder__inputs__pixel_values",
        "model__decoder__outputs__logits",
    ],
)
def test_null_is_as_good_as_absent(changed, field):
    folder.read(changed(setting(field, None)))


@pytest.mark.parametrize("field", ["model", "model__vocab_size", "model__decoder", "model__decoder__inputs"])
def test_null_for_what_has_to_be_there_is_refused_as_missing(changed, field):
    with pytest.raises(StartError) as caught:
        folder.read(changed(setting(field, None)))
    assert caught.value.reason is Reason.MODEL_CORRUPT
    assert caught.value.message.endswith("it is missing.")


def test_defaults_are_those_of_the_config(changed):
    search = config(search__do_sample=True, search__temperature=0.7, search__top_k=5, search__top_p=0.8)
    assert folder.read(changed(search)).defaults == folder.Defaults(0.7, 5, 0.8)


def test_what_the_config_asks_for_and_is_not_done_is_told(changed, caplog):
    loaded(changed(config(search__repetition_penalty=1.2)))
    assert "repetition_penalty" in caplog.text


EACH = 2 * text_models.LAYERS * text_models.CACHED_HEADS * text_models.HEAD * text_models.CONTEXT * 4


@pytest.mark.parametrize(
    ("flags", "slots", "context"),
    [
        ((), 16, text_models.CONTEXT),
        (("--max-batch", "3"), 3, text_models.CONTEXT),
        (("--cache-bytes", str(5 * EACH + 1)), 5, text_models.CONTEXT),
        (
            ("--cache-bytes", str(5 * EACH), "--max-context", str(text_models.CONTEXT // 2)),
            10,
            text_models.CONTEXT // 2,
        ),
    ],
)
def test_as_many_requests_run_as_the_cache_has_memory_for(cached_model, flags, slots, context):
    decoder = loaded(cached_model, *flags).decoder
    assert (decoder.slots, decoder.context) == (slots, context)


def test_logits_are_no_room_for_the_cache(cached_model, monkeypatch):
    piece = 1000
    logits = piece * text_models.VOCABULARY * 4
    monkeypatch.setattr(model, "_resident_bytes", lambda: 0)
    monkeypatch.setattr(cgroup.Cgroup, "memory_limit", lambda _self: logits + 2 * 5 * EACH)
    assert loaded(cached_model, "--prompt-piece", str(piece)).decoder.slots == 5


def test_no_logits_are_kept_behind_a_run(cached_model, decoder_of):
    decoder = decoder_of(cached_model)
    for slot in range(4):
        decoder.read(slot, [1] * 9, 0, 9)
    decoder.step([[1] * 10] * 3, 0)
    kept = [value for bound in decoder._bound.values() for value in bound.get_outputs() if value.has_value()]
    assert len(kept) == len(decoder._bound) * len(decoder._buffers)


def test_a_cache_that_one_request_does_not_fit_into_is_refused_with_both_numbers(cached_model):
    with pytest.raises(StartError) as caught:
        loaded(cached_model, "--cache-bytes", "1000")
    assert caught.value.reason is Reason.BAD_CONFIG
    assert re.search(r"takes \S+ MiB with 96 tokens", caught.value.message)
    assert "--max-context" in caught.value.hint


def test_a_failed_start_leaves_a_termination_message_and_no_traceback(servers, changed):
    server = servers.start(changed(without("tokenizer.json")), wait=False)
    assert server.why_not_started() == {
        "protocol": 1,
        "outcome": "Failed",
        "class": "Data",
        "reason": "ModelIncomplete",
        "digest": "sha256:abc",
    }


@pytest.mark.parametrize("flags", [("--max-queue", "0"), ("--cache-bytes", "-1"), ("--prompt-piece", "x")])
def test_a_bad_flag_is_refused(flags):
    with pytest.raises(StartError) as caught:
        settings.parse(["--model-dir", "/x", "--model-name", "m", *flags])
    assert caught.value.reason is Reason.BAD_CONFIG


def test_a_graph_of_half_precision_starts_and_writes_nearly_the_same(tmp_path, cached_model):
    half = loaded(text_models.write(tmp_path / "model", text_models.cached(kind=np.float16))).decoder
    whole = loaded(cached_model).decoder
    text = list(range(20, 60))
    found, expected = (decoder.read(0, text, 0, len(text)) for decoder in (half, whole))
    assert found.dtype == np.float16
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()

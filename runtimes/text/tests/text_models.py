"""Folders of small decoders, laid out as onnxruntime-genai's: graphs written node by node, weights drawn by a seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

LAYERS, HEADS, CACHED_HEADS, HEAD, WIDTH = 2, 4, 2, 16, 32
CONTEXT = 96
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>")
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer() -> Tokenizer:
    """Each byte is a token, as a BPE that has merged nothing: characters outside of ASCII have several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    return made


VOCABULARY = tokenizer().get_vocab_size()


class _Graph:
    """Nodes and weights, named by their number."""

    def __init__(self, seed: int, kind: Any = np.float32) -> None:
        self.kind = kind
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(seed)

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        names = [f"t{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names


@dataclass
class Written:
    """A graph, and the parts of the config that follow from it."""

    model: onnx.ModelProto
    inputs: dict[str, str]
    outputs: dict[str, str] = field(default_factory=lambda: {"logits": "logits"})
    context: int = CONTEXT


def _tables(graph: _Graph, context: int) -> tuple[str, str]:
    angles = np.arange(context)[:, None] / (10000 ** (np.arange(0, HEAD, 2) / HEAD))[None]
    return graph.constant(np.cos(angles).astype(graph.kind)), graph.constant(np.sin(angles).astype(graph.kind))


def cached(seed: int = 0, context: int = CONTEXT, kind: Any = np.float32) -> Written:
    """Attention with rotary positions, past and present in one memory. `kind` is the type of all weights."""
    graph = _Graph(seed, kind)
    cos, sin = _tables(graph, context)
    one = graph.constant(np.array([1]))
    used = graph.op(
        "Cast",
        graph.op("Sub", graph.op("ReduceSum", "attention_mask", one, keepdims=0), graph.constant(np.int64(1))),
        to=TensorProto.INT32,
    )
    length = graph.op("Slice", graph.op("Shape", "attention_mask"), one, graph.constant(np.array([2])))
    total = graph.op("Cast", graph.op("Squeeze", length), to=TensorProto.INT32)
    made: list[tuple[str, str]] = []

    def attention(layer: int, queries: str, keys: str, values: str) -> str:
        names = (f"past_key_values.{layer}.key", f"past_key_values.{layer}.value")
        output, key, value = graph.op(
            "GroupQueryAttention",
            *(queries, keys, values, *names, used, total, cos, sin),
            outputs=3,
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=CACHED_HEADS,
            do_rotary=1,
        )
        made.extend([(key, f"present.{layer}.key"), (value, f"present.{layer}.value")])
        return str(output)

    logits = _body(graph, attention)
    caches = [f"past_key_values.{layer}.{what}" for layer in range(LAYERS) for what in ("key", "value")]
    return Written(
        _model(
            graph,
            {"input_ids": ["b", "t"], "attention_mask": ["b", "s"]},
            {name: ["b", CACHED_HEADS, "p", HEAD] for name in caches},
            [(logits, "logits"), *made],
        ),
        {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"},
        context,
    )


def last_only(written: Written, *, keeps_axis: bool, length: int | str = "t") -> Written:
    """The same graph, which gives the logits of the last token only: (texts, 1, vocabulary), or (texts, vocabulary).
    `length` is that of the texts that it takes; a name where it is free.
    """
    graph = written.model.graph
    [last] = [node for node in graph.node if node.output[0] == "logits"]
    last.output[0] = "all_logits"
    graph.initializer.append(numpy_helper.from_array(np.array([-1] if keeps_axis else -1), "last"))
    graph.node.append(helper.make_node("Gather", ["all_logits", "last"], ["logits"], axis=1))
    [place] = [number for number, output in enumerate(graph.output) if output.name == "logits"]
    shape = ["b", 1, VOCABULARY] if keeps_axis else ["b", VOCABULARY]
    graph.output[place].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
    [ids] = [given for given in graph.input if given.name == "input_ids"]
    ids.CopyFrom(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", length]))
    return written


def growing() -> Written:
    """A cache that gets longer with each token, as exporters write it that know nothing of GroupQueryAttention."""
    written = uncached()
    graph = written.model.graph
    names = [f"{layer}.{what}" for layer in range(LAYERS) for what in ("key", "value")]
    shape = ["b", CACHED_HEADS, "p", HEAD]
    new = numpy_helper.from_array(np.zeros((1, CACHED_HEADS, 1, HEAD), np.float32), "new")
    graph.initializer.append(new)
    for name in names:
        graph.input.append(helper.make_tensor_value_info(f"past_key_values.{name}", TensorProto.FLOAT, shape))
        graph.output.append(
            helper.make_tensor_value_info(f"present.{name}", TensorProto.FLOAT, [*shape[:2], "q", HEAD])
        )
        graph.node.append(helper.make_node("Concat", [f"past_key_values.{name}", "new"], [f"present.{name}"], axis=2))
    inputs = {key: name for key, name in cached().inputs.items() if key != "attention_mask"}
    return Written(written.model, inputs, cached().outputs)


def uncached(seed: int = 0) -> Written:
    """The same weights and the same mathematics by ONNX' own operators, of a whole text."""
    graph = _Graph(seed)
    cos, sin = _tables(graph, CONTEXT)
    one, two = graph.constant(np.array([1])), graph.constant(np.array([2]))
    length = graph.op("Slice", graph.op("Shape", "input_ids"), one, two)
    places = graph.op("Range", graph.constant(np.int64(0)), graph.op("Squeeze", length), graph.constant(np.int64(1)))
    turned = [graph.op("Gather", table, places) for table in (cos, sin)]
    later = graph.op("Less", graph.op("Unsqueeze", places, one), graph.op("Unsqueeze", places, graph.constant([0])))
    mask = graph.op("Where", later, graph.constant(np.float32(-1e9)), graph.constant(np.float32(0)))

    def heads(values: str, count: int) -> str:
        shape = graph.constant(np.array([0, 0, count, HEAD]))
        return str(graph.op("Transpose", graph.op("Reshape", values, shape), perm=[0, 2, 1, 3]))

    def rotated(values: str) -> str:
        halves = graph.op("Split", values, axis=-1, num_outputs=2, outputs=2)
        (left, right), (c, s) = halves, turned
        mixed = (
            graph.op("Sub", graph.op("Mul", left, c), graph.op("Mul", right, s)),
            graph.op("Add", graph.op("Mul", right, c), graph.op("Mul", left, s)),
        )
        return str(graph.op("Concat", *mixed, axis=-1))

    def repeated(values: str) -> str:
        """Each cached head stands for several."""
        index = np.repeat(np.arange(CACHED_HEADS), HEADS // CACHED_HEADS)
        return str(graph.op("Gather", values, graph.constant(index), axis=1))

    def attention(_layer: int, queries: str, keys: str, values: str) -> str:
        q = rotated(heads(queries, HEADS))
        k, v = repeated(rotated(heads(keys, CACHED_HEADS))), repeated(heads(values, CACHED_HEADS))
        scores = graph.op("MatMul", q, graph.op("Transpose", k, perm=[0, 1, 3, 2]))
        scaled = graph.op("Mul", scores, graph.constant(np.float32(HEAD**-0.5)))
        found = graph.op("MatMul", graph.op("Softmax", graph.op("Add", scaled, mask), axis=-1), v)
        together = graph.constant(np.array([0, 0, HEADS * HEAD]))
        return str(graph.op("Reshape", graph.op("Transpose", found, perm=[0, 2, 1, 3]), together))

    logits = _body(graph, attention)
    return Written(
        _model(graph, {"input_ids": ["b", "t"]}, {}, [(logits, "logits")]),
        {"input_ids": "input_ids"},
    )


def _body(graph: _Graph, attention: Callable[[int, str, str, str], str]) -> str:
    """Layers of attention and a network each. Weights are drawn in the same order, whatever attention is."""
    weights = np.random.default_rng(graph._random.integers(2**31))

    def drawn(*shape: int, scale: float = 0.3) -> str:
        return graph.constant((weights.standard_normal(shape) * scale).astype(graph.kind))

    x = graph.op("Gather", drawn(VOCABULARY, WIDTH, scale=1.0), "input_ids")
    for layer in range(LAYERS):
        q, k, v = (graph.op("MatMul", x, drawn(WIDTH, heads * HEAD)) for heads in (HEADS, CACHED_HEADS, CACHED_HEADS))
        found = attention(layer, q, k, v)
        x = graph.op("Add", x, graph.op("MatMul", found, drawn(HEADS * HEAD, WIDTH)))
        inner = graph.op("Relu", graph.op("MatMul", x, drawn(WIDTH, 64)))
        x = graph.op("Add", x, graph.op("MatMul", inner, drawn(64, WIDTH)))
    return str(graph.op("MatMul", x, drawn(WIDTH, VOCABULARY, scale=0.02)))


def _model(
    graph: _Graph, inputs: dict[str, list[Any]], caches: dict[str, list[Any]], outputs: list[tuple[str, str]]
) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    floating = helper.np_dtype_to_tensor_dtype(np.dtype(graph.kind))
    graph.nodes += [helper.make_node("Identity", [inner], [name]) for inner, name in outputs]
    shapes = {name.replace("past_key_values", "present"): [*shape[:2], "q", HEAD] for name, shape in caches.items()}
    made = helper.make_graph(
        graph.nodes,
        "decoder",
        [info(name, TensorProto.INT64, shape) for name, shape in inputs.items()]
        + [info(name, floating, shape) for name, shape in caches.items()],
        [info(name, floating, shapes.get(name, ["b", "t", VOCABULARY])) for _, name in outputs],
        graph.weights,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, ir_version=10, opset_imports=opsets)


def config(written: Written, *, end: list[int] | None = None, **search: Any) -> dict[str, Any]:
    decoder = {
        "filename": "model.onnx",
        "head_size": HEAD,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": CACHED_HEADS,
        "inputs": written.inputs,
        "outputs": written.outputs,
    }
    model = {
        "type": "llama",
        "bos_token_id": 0,
        "eos_token_id": end if end is not None else [tokenizer().token_to_id("<|end|>")],
        "pad_token_id": 0,
        "context_length": written.context,
        "vocab_size": VOCABULARY,
        "decoder": decoder,
    }
    defaults = {
        "do_sample": False,
        "max_length": written.context,
        "past_present_share_buffer": True,
        "temperature": 1.0,
    }
    return {"model": model, "search": {**defaults, "top_k": 50, "top_p": 1.0, **search}}


def write(folder: Path, written: Written, settings: dict[str, Any] | None = None) -> Path:
    """`folder`, with the model in it as the loader puts it there."""
    below = folder / "text"
    below.mkdir(parents=True)
    onnx.save(written.model, below / "model.onnx")
    (below / "genai_config.json").write_text(json.dumps(settings or config(written)))
    tokenizer().save(str(below / "tokenizer.json"))
    special = {"eos_token": "<|end|>", "chat_template": CHAT}
    (below / "tokenizer_config.json").write_text(json.dumps(special))
    return folder

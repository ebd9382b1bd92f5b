"""A decoder with a KV cache: the same model, traced with attention that reads what an earlier step has kept.

Attention becomes GroupQueryAttention of ONNX Runtime: past and present may be the same memory, and each row has a
length of its own. TensorFlow has no such operation: a placeholder stands for it until the graph is ONNX.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from headrace_trainer.adapters.keras.export.onnx import Custom
from headrace_trainer.adapters.keras.export.servable import Servable
from headrace_trainer.adapters.keras.export.text.attention import replaced
from headrace_trainer.adapters.keras.export.text.decoder import Decoder
from headrace_trainer.adapters.keras.export.text.layers import Found

IDS, MASK, POSITIONS, LOGITS = "input_ids", "attention_mask", "position_ids", "logits"
PAST_KEY, PAST_VALUE = "past_key_values.%d.key", "past_key_values.%d.value"
PRESENT_KEY, PRESENT_VALUE = "present.%d.key", "present.%d.value"
_DOMAIN, _OPERATION = "com.microsoft", "GroupQueryAttention"
_PLACEHOLDER = "headrace_attention_"
_NUMBERED = re.compile(f"{_PLACEHOLDER}([0-9]+)")


def servable_of(decoder: Decoder, found: Found) -> Servable:
    """Takes tokens, the mask of the whole text, their positions where the model has such, and the past of each layer;
    answers with logits and the present of each.
    """
    whole = [IDS, MASK, *([POSITIONS] if found.positions is not None else [])]
    specs = [tf.TensorSpec([None, None], tf.int64, name) for name in whole]
    for number, layer in enumerate(found.attention):
        shape = [None, layer.key_heads, None, layer.size]
        specs += [tf.TensorSpec(shape, tf.float32, name % number) for name in (PAST_KEY, PAST_VALUE)]

    def serve(*tensors: Any) -> dict[str, Any]:
        given = dict(zip((spec.name for spec in specs), tensors, strict=True))
        step = _Step(found, given)
        with replaced(step):
            logits = decoder.call(tf.cast(given[IDS], tf.int32))
        return {LOGITS: tf.identity(logits), **step.present}

    return replace(decoder.made, serve=serve, specs=specs, rows=None, references=())


def custom_of(found: Found) -> Custom:
    """What the conversion has to know of the placeholders."""

    def rewrite(graph: Any, nodes: list[Any]) -> list[Any]:
        for node in list(nodes):
            number = _NUMBERED.search(node.name)
            if node.type != "PyFunc" or number is None:
                continue
            layer = found.attention[int(number[1])]
            inputs, outputs = list(node.input), list(node.output)
            shapes, dtypes = node.output_shapes, node.output_dtypes
            graph.remove_node(node.name)
            graph.make_node(
                _OPERATION,
                inputs,
                outputs=outputs,
                name=node.name,
                domain=_DOMAIN,
                shapes=shapes,
                dtypes=dtypes,
                attr={"num_heads": layer.heads, "kv_num_heads": layer.key_heads, "scale": layer.scale},
                skip_conversion=True,
            )
        return list(graph.get_nodes())

    cache = [
        name % n for n in range(len(found.attention)) for name in (PAST_KEY, PAST_VALUE, PRESENT_KEY, PRESENT_VALUE)
    ]
    return Custom(rewrite, _DOMAIN, frozenset({_OPERATION}), frozenset({MASK, *cache}))


class _Step:
    """A `Replacement`: some tokens behind a past."""

    def __init__(self, found: Found, given: dict[str, Any]) -> None:
        self.present: dict[str, Any] = {}
        self._found = found
        self._given = given
        self._count = 0
        mask = given[MASK]
        self._last = tf.cast(tf.reduce_sum(mask, 1) - 1, tf.int32)
        self._total = tf.shape(mask)[1]

    def attend(self, layer: Any, query: Any, key: Any, value: Any, original: Callable[[], Any]) -> Any:
        number = self._count
        self._count += 1
        about = self._found.attention[number]
        rows, tokens = tf.shape(query)[0], tf.shape(query)[1]
        flat = [
            tf.reshape(tf.cast(tensor, tf.float32), [rows, tokens, heads * about.size])
            for tensor, heads in ((query, about.heads), (key, about.key_heads), (value, about.key_heads))
        ]
        past = [self._given[name % number] for name in (PAST_KEY, PAST_VALUE)]
        computed = tf.numpy_function(
            _only_in_onnx, [*flat, *past, self._last, self._total], [tf.float32] * 3, name=f"{_PLACEHOLDER}{number}"
        )
        cache = [None, about.key_heads, None, about.size]
        shapes = [None, None, about.heads * about.size], cache, cache
        computed = [tf.ensure_shape(tensor, shape) for tensor, shape in zip(computed, shapes, strict=True)]
        attended, self.present[PRESENT_KEY % number], self.present[PRESENT_VALUE % number] = computed
        return tf.cast(tf.reshape(attended, [rows, tokens, about.heads, about.size]), query.dtype)

    def positions(self, given: Any, length: int) -> Any:
        return tf.cast(self._given[POSITIONS], tf.int32)


def _only_in_onnx(*_: Any) -> Any:
    """Marks the place of the node that the conversion writes; TensorFlow traces this and never runs it."""
    raise RuntimeError("the attention of a graph with a cache is computed by ONNX Runtime alone")

"""The format Text of a model: with a cache where that computes what the model does, and without one where not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from headrace_trainer.adapters.keras.export import onnx as keras_onnx
from headrace_trainer.adapters.keras.export.servable import Array, ExportError, Reference, Servable, servable
from headrace_trainer.adapters.keras.export.text import cached, folder, layers, verify
from headrace_trainer.adapters.keras.export.text.decoder import Decoder, decoder_of, run
from headrace_trainer.adapters.keras.export.text.first_difference import first_difference
from headrace_trainer.adapters.keras.export.text.layers import Found
from headrace_trainer.adapters.keras.export.text.named import HOW, NamedText
from headrace_trainer.adapters.keras.export.text.tokenizer import tokens_of
from headrace_trainer.adapters.signature import Signature, Tensor

_TRIED = (2, 12)  # rows and tokens of the texts that a graph without a cache is compared on


class NoCache(ExportError):
    """The model cannot have a cache; the message says why."""


def write(made: Servable, named: NamedText | None, target: Path) -> str:
    """What is to be known of what was written: why it has no cache; empty where it has one. `made` is the model that
    becomes a version. Raises ExportError, and what the converter raises.
    """
    if named is None:
        raise ExportError(
            f"the script does not say which tokenizer it has: save it as tokenizer.json and call {HOW}, best before "
            "the model is trained"
        )
    decoder = decoder_of(made if named.model is made.model else _of_the_same_weights(made, named))
    tokens = tokens_of(named.tokenizer, named.config, decoder.vocabulary)
    found = layers.look(decoder)
    context = _context(decoder, named, found)
    about = {"vocabulary": decoder.vocabulary, "context": context}
    try:
        _write_cached(decoder, found, context, target)
    except NoCache as error:
        shutil.rmtree(target, ignore_errors=True)
        _write_plain(decoder, context, target)
        folder.write(target, named, tokens, **about, found=None)
        return f"without a cache, so that each token reads the whole text again: {error}"
    folder.write(target, named, tokens, **about, found=found)
    return ""


def _of_the_same_weights(made: Servable, named: NamedText) -> Servable:
    own = {id(weight) for weight in made.model.variables}
    if not any(id(weight) in own for weight in named.model.variables):
        raise ExportError(
            f"headrace_client.text was given {named.model.name!r}, and the model that becomes a version is "
            f"{made.model.name!r}, which shares no weights with it: name one of them by headrace_client.export(model)"
        )
    return servable(named.trained())


def _context(decoder: Decoder, named: NamedText, found: Found) -> int:
    """How many tokens a text may have. Raises ExportError where that is not known, or not possible."""
    limits = [limit for limit in (decoder.length, found.positions) if limit is not None]
    if named.context is not None and limits and named.context > min(limits):
        raise ExportError(f"context is {named.context}, and the model has {min(limits)} positions")
    if named.context is not None:
        return named.context
    if limits or decoder.seen is not None:
        return min(limits) if limits else int(decoder.seen or 0)
    raise ExportError("how long a text may be is not known: say so by headrace_client.text(..., context=512)")


def _write_cached(decoder: Decoder, found: Found, context: int, target: Path) -> None:
    """Raises NoCache."""
    if found.problem:
        raise NoCache(found.problem)
    try:
        engine = keras_onnx.convert(cached.servable_of(decoder, found), target, cached.custom_of(found))
        share = verify.difference(decoder, found, engine, context)
    except ExportError:
        raise
    except Exception as error:
        where = first_difference(decoder, found, context)
        raise NoCache(f"a step by itself cannot be computed ({' '.join(str(error).split())[:160]}){where}") from error
    if share > max(verify.TOLERANCE, decoder.made.tolerance):
        where = first_difference(decoder, found, context)
        raise NoCache(f"step by step it computes other logits, by {share:.2g} of their scale{where}")


def _write_plain(decoder: Decoder, context: int, target: Path) -> None:
    """A graph from tokens to logits. Raises what onnx.write raises."""
    rows, tokens = _TRIED

    def serve(ids: Any) -> dict[str, Any]:
        return {cached.LOGITS: decoder.call(tf.cast(ids, tf.int32))}

    ids: Array = decoder.texts(rows, decoder.length or min(tokens, context)).astype("int64")
    shape = (None, decoder.length)
    signature = Signature(
        (Tensor(cached.IDS, "int64", shape),), (Tensor(cached.LOGITS, "float32", (*shape, decoder.vocabulary)),)
    )
    plain = replace(
        decoder.made,
        signature=signature,
        serve=serve,
        specs=[tf.TensorSpec(shape, tf.int64, cached.IDS)],
        rows=None,
        references=(),
    )
    expected = {cached.LOGITS: run(decoder.call, ids.astype("int32"))}
    keras_onnx.write(replace(plain, references=(Reference((ids,), expected, frozenset()),)), target)

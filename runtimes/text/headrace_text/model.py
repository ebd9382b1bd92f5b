"""A model that can be asked: decoder, tokenizer, chat template, and how many texts its memory is enough for."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headrace_common import cgroup
from headrace_serving.failures import Reason, StartError
from headrace_text import chat, folder, session, tokens
from headrace_text.cached import CachedDecoder, slot_bytes
from headrace_text.chat import ChatTemplate
from headrace_text.decoder import Decoder
from headrace_text.folder import Config
from headrace_text.session import Session
from headrace_text.settings import Settings
from headrace_text.tokens import Tokens
from headrace_text.uncached import UncachedDecoder
from headrace_text.warmup import warm_up

log = logging.getLogger("headrace_text")

MIB = 1024**2


@dataclass(frozen=True)
class Model:
    config: Config
    decoder: Decoder
    tokens: Tokens
    chat: ChatTemplate | None

    @property
    def has_cache(self) -> bool:
        return self.config.cache is not None


async def load(settings: Settings) -> Model:
    """The model of the settings, loaded and warmed up off the event loop. Raises StartError."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loading") as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, _load, settings)


def _load(settings: Settings) -> Model:
    config = folder.read(settings.model_dir)
    found = tokens.load(settings.model_dir, config.vocabulary)
    template = chat.load(settings.model_dir)
    graph = session.load(config, settings.threads)
    config = session.fitted(config, graph)
    # One token of a prompt and one of its answer, at least.
    context = max(2, min(config.context, settings.max_context or config.context))
    decoder = _decoder(graph, config, context, settings)
    warm_up(decoder, config)
    if config.not_done:
        log.warning("genai_config.json asks for %s, which this server does not do", ", ".join(config.not_done))
    log.info(
        "model loaded: %d tokens of context, up to %d requests together, %s",
        decoder.context,
        decoder.slots,
        _way(template),
    )
    return Model(config, decoder, found, template)


def _way(template: ChatTemplate | None) -> str:
    return "with a chat template" if template is not None else "without a chat template"


def _decoder(graph: Session, config: Config, context: int, settings: Settings) -> Decoder:
    if config.cache is None:
        log.warning("the graph has no KV cache: the whole text is read again for each token, which is slow")
        return UncachedDecoder(graph, config, settings.max_batch, context)
    each = slot_bytes(graph, config, context)
    # The logits of a step or of a piece of a prompt, whichever are more.
    logits = max(settings.prompt_piece, settings.max_batch) * config.vocabulary * np.dtype(np.float32).itemsize
    room = settings.cache_bytes or _room(logits)
    slots = min(settings.max_batch, room // each)
    if slots < 1:
        raise StartError(
            Reason.BAD_CONFIG,
            f"The KV cache of one request takes {each / MIB:.0f} MiB with {context} tokens of context, and there are "
            f"{room / MIB:.0f} MiB for it.",
            "Raise spec.resources.limits.memory, or lower --max-context by runtime.args.",
        )
    log.info("KV cache: %.1f MiB a request, %d of them, in at most %.1f MiB", each / MIB, slots, room / MIB)
    return CachedDecoder(graph, config, slots, context)


def _room(logits: int) -> int:
    """Bytes for the cache of all requests, with so many for logits: half of what is left; the other half is for what a
    step computes else.
    """
    own = cgroup.own()
    limit = own.memory_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    used = _resident_bytes()
    return max(0, limit - used - logits) // 2


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""The shape of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_common.protocol.config import Workers
from headrace_common.protocol.parts import LostPeer
from headrace_trainer.launcher.failures.judge import ChildEnd


@dataclass(frozen=True)
class Framework:
    """A framework, or the lack of one.

    adapter      the module that runs a script and follows it; None: it runs by itself, and talks through the pipe with
                 a name (runtimes/client)
    nothing_trained_hint   what its author does where a script that ended well has trained nothing; empty: that is no
                 failure
    how_to_hand_over   what its author does where an asked-for model did not come
    words_of_missing   what is said of a format that did not come, after its name
    words_of_unusable   what is said of one that came and is of no use, before the reason
    fault   what is wrong with the model of a format in a folder, where the launcher has to look; None: nothing
    describe   writes signature.json into the folder of a model with these formats, where its export has not
    hint_of_unusable   what its author does where no format is of use
    rendezvous   the environment by which the workers of a gang find one another, of the gang and a worker's index
    lost_peer    which worker a script's end is blamed on, by the framework's words
    """

    name: str
    adapter: str | None
    nothing_trained_hint: str
    how_to_hand_over: str
    words_of_missing: str
    words_of_unusable: str
    hint_of_unusable: str
    fault: Callable[[str, Path], str | None]
    describe: Callable[[Path, Sequence[str]], None]
    rendezvous: Callable[[Workers, int], dict[str, str]]
    lost_peer: Callable[[ChildEnd], LostPeer | None]

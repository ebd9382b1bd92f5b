"""How programs say that another worker is gone: by the words of sockets, torch.distributed (Gloo, NCCL), JAX and MPI.

A program of one's own has connections to others than its peers, too: words count where the program ended with them,
not where they are somewhere in its log. One that blames a peer wrongly is tried again as after a failure of its own,
with its exception in the message.
"""

from __future__ import annotations

import re
import signal

from headrace_common.protocol.parts import LostPeer
from headrace_trainer.launcher.failures.judge import ChildEnd
from headrace_trainer.launcher.frameworks.tensorflow_peers import COORDINATION

_EXCEPTIONS = {
    "ConnectionResetError",
    "ConnectionAbortedError",
    "BrokenPipeError",
    "EOFError",
    "DistNetworkError",
    "RendezvousConnectionError",
    "RendezvousClosedError",
}
_WORDS = re.compile(
    r"connection (was )?(closed|reset) by (remote )?peer|broken pipe|socket closed|"
    r"failed to (recv|send), got \d+ bytes|timed out waiting .{0,40}for (recv|send) operation|"
    r"remote process exited or there was a network error|ncclRemoteError|watchdog caught collective operation timeout|"
    r"lost communication with a remote daemon|" + COORDINATION,
    re.IGNORECASE,
)
# torchrun's own traceback, which comes after that of the process that it has started.
_OF_A_PARENT = {"ChildFailedError", "CalledProcessError"}
_LAST_LINES = 12


def lost_peer(end: ChildEnd) -> LostPeer | None:
    """Some worker, where the program's last words are of a connection; None where they are not."""
    if end.exit_code in (0, -signal.SIGKILL):
        return None
    raised = end.in_log
    if raised is None or raised.exception in _OF_A_PARENT:
        lines = end.log_tail.splitlines()
        found = _WORDS.search("\n".join(lines if raised is not None else lines[-_LAST_LINES:])) is not None
    else:
        found = raised.exception in _EXCEPTIONS or _WORDS.search(raised.message) is not None
    return LostPeer(None) if found else None

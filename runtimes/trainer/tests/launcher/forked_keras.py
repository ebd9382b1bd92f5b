"""The Keras adapter in a fork of an interpreter that has imported Keras (forking.py), for tests of the launcher that
need a real training and are not about the import.

The launcher starts this module as it would start `headrace_trainer.adapters.keras`: its signals are passed on to the
fork, whose end it takes for its own.
"""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from forking import request

ADDRESS = "HEADRACE_TEST_FORKS"


def main() -> None:
    signals = signal.SIGTERM, signal.SIGINT
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS}
    receive, send = os.pipe()
    asked = request("headrace_trainer.adapters.keras", sys.argv[1:], environment, Path.cwd())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as forks:
        forks.connect(os.environ[ADDRESS])
        descriptors = [1, 2, send, int(os.environ["HEADRACE_CHILD_FD"])]
        socket.send_fds(forks, [asked], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)  # it is the fork's end that ends them
    with open(receive, encoding="ascii") as report:
        process = int(report.readline())
        for number in signals:
            signal.signal(number, lambda received, _: os.kill(process, received))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        code = os.waitstatus_to_exitcode(int(report.readline()))
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)  # there is no standard output to flush


if __name__ == "__main__":
    main()

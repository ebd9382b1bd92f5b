"""Entry point of the serving container, and of its preStop hook (the image has no shell).

    python -m headrace_onnxruntime --model-dir /models/current --model-name text-generator
    python -m headrace_onnxruntime drain-wait SECONDS

Exit codes: 0 ended as told, every request answered; 1 ended with requests in flight; 2 cannot start, no retry can help.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from headrace_onnxruntime import settings as settings_module
from headrace_onnxruntime.failures import Reason, StartError

log = logging.getLogger("headrace_onnxruntime")

LONGEST_WAIT_SECONDS = 3600.0


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    arguments = sys.argv[1:]
    if arguments[:1] == ["drain-wait"]:
        return _drain_wait(arguments[1:])
    digest = ""
    try:
        settings = settings_module.parse(arguments)
        digest = settings.digest
        # Only now: the preStop hook is another process in the same container and must not pay for this import.
        from headrace_onnxruntime.server import run

        code = run(settings)
        logging.shutdown()
        # Not sys.exit: it would wait for a run of the model that nobody waits for any more, and cannot interrupt it.
        os._exit(code)
    except StartError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        error.write_termination_message(settings_module.termination_log(), digest)
        return 2


def _drain_wait(arguments: list[str]) -> int:
    """Wait while the data plane lets go of the pod; Kubernetes sends SIGTERM afterwards."""
    try:
        (text,) = arguments
        seconds = float(text)
        if not 0 <= seconds <= LONGEST_WAIT_SECONDS:
            raise ValueError(text)
    except ValueError:
        log.error("%s: drain-wait takes one number of seconds, at most %g", Reason.BAD_CONFIG, LONGEST_WAIT_SECONDS)
        return 2
    time.sleep(seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of the serving container.

    python -m headrace_onnxruntime --model-dir /models/current --model-name text-generator

Exit codes: 0 ended as told, every request answered; 1 ended with requests in flight; 2 cannot start, no retry can help.
"""

from __future__ import annotations

import logging
import os
import sys

from headrace_onnxruntime import settings as settings_module
from headrace_onnxruntime.failures import StartError

log = logging.getLogger("headrace_onnxruntime")


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    digest = ""
    try:
        settings = settings_module.parse(sys.argv[1:])
        digest = settings.digest
        # Only now: a wrong flag is told without ONNX Runtime's import.
        from headrace_onnxruntime.server import run

        code = run(settings)
        logging.shutdown()
        # Not sys.exit: it would wait for a run of the model that nobody waits for any more, and cannot interrupt it.
        os._exit(code)
    except StartError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        error.write_termination_message(settings_module.termination_log(), digest)
        return 2


if __name__ == "__main__":
    sys.exit(main())

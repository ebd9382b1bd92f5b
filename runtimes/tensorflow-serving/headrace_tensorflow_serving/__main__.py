"""Entry point of the serving container.

    python -m headrace_tensorflow_serving --port=8500 --rest_api_port=8080 --model_name=text-generator \
        --model_base_path=/models/current/tensorflow

Exit codes: 0 ended as told, every request answered; 1 ended with requests in flight; 2 cannot start, no retry can help.
"""

from __future__ import annotations

import logging
import os
import sys

from headrace_tensorflow_serving import settings as settings_module
from headrace_tensorflow_serving.failures import StartError

log = logging.getLogger("headrace_tensorflow_serving")


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    digest = ""
    try:
        settings = settings_module.parse(sys.argv[1:])
        digest = settings.digest
        # Only now: a bad flag is told without the time that the servers' packages take.
        from headrace_tensorflow_serving.server import run

        code = run(settings)
        logging.shutdown()
        # Not sys.exit: it would wait for a run of the model that nobody waits for any more, and cannot interrupt it.
        os._exit(code)
    except StartError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        error.write_termination_message(settings_module.termination_log(), digest)
        logging.shutdown()
        os._exit(2)


if __name__ == "__main__":
    main()

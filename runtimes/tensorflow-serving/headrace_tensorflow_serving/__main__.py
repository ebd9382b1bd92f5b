"""Entry point of the serving container.

    python -m headrace_tensorflow_serving --port=8500 --rest_api_port=8080 --model_name=text-generator \
        --model_base_path=/models/current/tensorflow

Exit codes: 0 ended as told, every request answered; 1 ended with requests in flight; 2 cannot start, no retry can help.
"""

from __future__ import annotations

import os
from typing import NoReturn

from headrace_serving import entry
from headrace_tensorflow_serving.settings import Settings, parse


def main() -> NoReturn:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    entry.run(parse, _serve)


def _serve(settings: Settings) -> int:
    # Only now: a bad flag is told without the time that the servers' packages take.
    from headrace_tensorflow_serving.server import run

    return run(settings)


if __name__ == "__main__":
    main()

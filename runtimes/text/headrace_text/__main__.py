"""Entry point of the serving container.

    python -m headrace_text --model-dir /models/current --model-name text-generator

Exit codes: 0 ended as told, every request answered; 1 ended with requests in flight; 2 cannot start, no retry can help.
"""

from __future__ import annotations

from typing import NoReturn

from headrace_serving import entry
from headrace_text.settings import Settings, parse


def main() -> NoReturn:
    entry.run(parse, _serve)


def _serve(settings: Settings) -> int:
    # Only now: a wrong flag is told without ONNX Runtime's import.
    from headrace_text.server import run

    return run(settings)


if __name__ == "__main__":
    main()

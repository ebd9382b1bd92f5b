"""Entry point of the init container: environment in, files and a termination message out.

Exit codes: 0 loaded and verified, 2 no retry can help (Config, Data), 4 storage failed (Storage), 143 ended by SIGTERM.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from headrace_common.protocol.load import VARIABLE
from headrace_loader import config, report
from headrace_loader.failures import EXIT_CODE_OF, LoadError
from headrace_loader.load import load
from headrace_loader.storage import S3Store

log = logging.getLogger("headrace_loader")

TERMINATION_LOG = "/dev/termination-log"


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    # As PID 1 a process without a handler ignores SIGTERM; SystemExit lets the partial folder be removed.
    signal.signal(signal.SIGTERM, _end)
    termination_log = Path(os.environ.get("HEADRACE_TERMINATION_LOG", TERMINATION_LOG))
    start = time.monotonic()
    digest: str | None = None
    try:
        request = config.parse(os.environ.get(VARIABLE))
        digest = request.digest
        log.info("loading %s of %s", ", ".join(request.formats), request.place)
        loaded = load(request, S3Store(request.place.bucket, request.storage))
    except LoadError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        report.write(report.failed(error, digest, time.monotonic() - start), termination_log)
        return EXIT_CODE_OF[error.failure_class]
    seconds = time.monotonic() - start
    log.info("%s is complete and verified: %d bytes in %.1f s", loaded.digest, loaded.size_bytes, seconds)
    report.write(report.succeeded(loaded, seconds), termination_log)
    return 0


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

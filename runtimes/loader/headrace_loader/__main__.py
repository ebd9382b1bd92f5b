"""Entry point of the init container: environment in, files and a termination message out.

Exit codes: 0 loaded and verified, 2 no retry can help (Config, Data), 4 storage failed (Storage), 143 ended by SIGTERM.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from headrace_common.protocol.load import VARIABLE
from headrace_common.protocol.loading import Loading
from headrace_common.serve import ProgressServer
from headrace_loader import config, report
from headrace_loader.failures import EXIT_CODE_OF, LoadError
from headrace_loader.load import load
from headrace_loader.progress import Progress
from headrace_loader.storage import S3Store

log = logging.getLogger("headrace_loader")

TERMINATION_LOG = "/dev/termination-log"


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    # As PID 1 a process without a handler ignores SIGTERM; SystemExit ends it at once. What was fetched stays: the
    # container may be started again in the same pod.
    signal.signal(signal.SIGTERM, _end)
    termination_log = Path(os.environ.get("HEADRACE_TERMINATION_LOG", TERMINATION_LOG))
    progress = Progress()
    digest: str | None = None
    try:
        request = config.parse(os.environ.get(VARIABLE))
        digest = request.digest
        log.info("loading %s of %s", ", ".join(request.formats), request.place)
        _serve(request.progress_port, progress)
        loaded = load(request, S3Store(request.place.bucket, request.storage), progress)
    except LoadError as error:
        log.error("%s: %s %s", error.reason, error.message, error.hint)
        report.write(report.failed(error, digest, progress.seconds), termination_log)
        return EXIT_CODE_OF[error.failure_class]
    done = Loading(loaded.size_bytes, None, progress.fetched_bytes, progress.seconds)
    log.info(
        "%s is complete and verified: %d bytes, %d of them fetched, in %.1f s",
        loaded.digest,
        done.bytes,
        done.fetched_bytes,
        done.seconds,
    )
    report.write(report.succeeded(loaded.digest, done), termination_log)
    return 0


def _serve(port: int | None, progress: Progress) -> None:
    """Nobody has to see how far it is: where the port is taken, the model is loaded all the same."""
    if port is None:
        return
    try:
        ProgressServer("", port, lambda: progress.now().as_json()).start()
    except OSError as error:
        log.warning("progress is not served: port %d: %s", port, error)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

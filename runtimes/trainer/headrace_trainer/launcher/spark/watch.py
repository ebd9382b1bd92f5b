"""Looks at Spark while the script runs: how far it is, and that its executors come.

In a thread of its own; whoever owns the inbox is told what was seen, and that nothing will come of it.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from headrace_common.protocol.spark import Spark
from headrace_trainer.launcher.failures.judge import Failure
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.spark.cluster import Cluster, executors_pending
from headrace_trainer.launcher.spark.seen import Seen, seen

_EVERY_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_MOST_BYTES = 64 << 20


class Watch:
    """Of one run of the script. `tell` gets what has changed, `give_up` at most once why the script is to be ended."""

    def __init__(
        self,
        spark: Spark,
        ui_port: int,
        uid: str,
        cluster: Cluster | None,
        tell: Callable[[Seen], None],
        give_up: Callable[[Failure], None],
    ) -> None:
        self._spark = spark
        self._url = f"http://127.0.0.1:{ui_port}/api/v1/applications"
        self._uid = uid
        self._cluster = cluster
        self._tell = tell
        self._give_up = give_up
        self._ended = threading.Event()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._waits_since: float | None = None
        self._last: Seen | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="spark", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            try:
                now = self._look()
            except (OSError, HTTPException, ValueError, KeyError, TypeError):  # not there yet, or not any more
                continue
            if now is not None and now != self._last:
                self._last = now
                self._tell(now)
            if now is not None and self._is_stuck(now):
                self._give_up(executors_pending(self._spark.executors, self._spark.pending_seconds, self._pods()))
                return

    def _look(self) -> Seen | None:
        applications = self._ask("")
        if not applications:
            return None
        address = f"/{applications[0]['id']}"
        return seen(self._ask(f"{address}/stages"), self._ask(f"{address}/allexecutors"))

    def _is_stuck(self, now: Seen) -> bool:
        """Without any executor for too long, whether none ever came or all are gone. Without a cluster the driver
        itself does the work.
        """
        if self._cluster is None or now.executors:
            self._waits_since = None
            return False
        self._waits_since = self._waits_since or time.monotonic()
        return time.monotonic() - self._waits_since > self._spark.pending_seconds

    def _pods(self) -> list[Any]:
        try:
            return [] if self._cluster is None else list(self._cluster.executors(self._uid))
        except OSError as error:
            log(f"why no executor came cannot be asked: {error}")
            return []

    def _ask(self, path: str) -> list[Any]:
        with self._opener.open(f"{self._url}{path}", timeout=_ANSWER_SECONDS) as answer:
            found = json.loads(answer.read(_MOST_BYTES))
        if not isinstance(found, list):
            raise ValueError("no list")
        return found

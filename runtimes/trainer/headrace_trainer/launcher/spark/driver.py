"""The driver in its pod: whether it may make executors, its files laid out, and how long its Java may take to end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from urllib.error import HTTPError

from headrace_common.protocol.config import Config
from headrace_trainer.launcher.failures.judge import Failed, Failure, bad_config
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.spark import files
from headrace_trainer.launcher.spark.cluster import Cluster
from headrace_trainer.launcher.spark.executor import spark_home
from headrace_trainer.launcher.spark.seen import Seen
from headrace_trainer.launcher.spark.watch import Watch

# Java takes the executors away and closes the event log when Python has ended.
END_SECONDS = 30.0
_PAUSE = 2.0
_ITS_OWN_FAULT = 500


def check_image() -> None:
    """Raises Failed where the image is none that Spark can run in."""
    if spark_home() is None:
        raise Failed(
            bad_config(
                "this image has no PySpark",
                "Leave spec.prepare.image empty, which is the release's image with Spark, or make yours from that one; "
                "where source.image is the image that runs, give spec.prepare a source of its own.",
            )
        )


def check_allowed(namespace: str, outage_seconds: float) -> None:
    """Raises Failed where the pod's service account has not the rights that a driver needs. An API server that cannot
    be asked for so long is no reason to fail: Spark asks it too, and says what it hears.
    """
    cluster = Cluster.around(os.environ, namespace)
    if cluster is None:
        return
    deadline = time.monotonic() + outage_seconds
    while True:
        try:
            refused = cluster.refused()
        except OSError as error:
            is_final = isinstance(error, HTTPError) and error.code < _ITS_OWN_FAULT
            if is_final or time.monotonic() > deadline:
                log(f"the API server cannot be asked what the driver may do: {error}")
                return
            time.sleep(_PAUSE)
            continue
        if refused is not None:
            raise Failed(refused)
        return


def clear_executors(namespace: str, uid: str) -> None:
    """Take away what earlier attempts have left. An executor that has not started yet does not see that its driver is
    gone, and its owner, the driver's pod, is kept for as long as its Job: it would wait, and then run, for nobody.
    """
    cluster = Cluster.around(os.environ, namespace)
    if cluster is None:
        return
    try:
        cluster.delete_executors(uid)
    except OSError as error:  # they cost room, and no more
        log(f"executors of earlier attempts, if there are any, are left: {error}")


def prepare(
    config: Config, settings: Settings, tell: Callable[[Seen], None], give_up: Callable[[Failure], None]
) -> Watch | None:
    """Lay out what Spark reads, and get ready to look at it; None where the script is no program of Spark's."""
    spark = None if config.prepare is None else config.prepare.spark
    if spark is None:
        return None
    port = _free_port()
    files.write(spark, files.Layout.of(settings.paths), port, os.environ)
    log(f"Spark's UI is at port {port} of the pod, for as long as the program runs: kubectl port-forward")
    cluster = Cluster.around(os.environ, config.job.namespace)
    return Watch(spark, port, config.job.uid, cluster, tell, give_up)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

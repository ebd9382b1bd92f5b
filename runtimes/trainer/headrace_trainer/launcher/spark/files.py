"""The files that Spark reads when the script makes its session: properties, and the template of an executor's pod; and
what the script's environment has besides.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace_common.protocol.config import Config
from headrace_common.protocol.spark import POD_ADDRESS, POD_NAME, Spark
from headrace_trainer.launcher.datasets.staged import folder_of
from headrace_trainer.launcher.settings import Paths
from headrace_trainer.launcher.spark.executor import JARS_VARIABLE

_DRIVER_PORT, _BLOCKS_PORT = 7078, 7079
_LOOPBACK = "127.0.0.1"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@dataclass(frozen=True)
class Layout:
    """Where they are: `events` is a folder whose files become artifacts of the run."""

    folder: Path
    events: Path

    @staticmethod
    def of(paths: Paths) -> Layout:
        return Layout(paths.scratch / "spark", paths.outputs / "spark")

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def template(self) -> Path:
        return self.folder / "executor.json"


def write(spark: Spark, layout: Layout, ui_port: int, env: Mapping[str, str]) -> None:
    """`ui_port` is a port of the pod that is free."""
    layout.conf.mkdir(parents=True, exist_ok=True)
    layout.events.mkdir(parents=True, exist_ok=True)
    layout.template.write_text(json.dumps(spark.executor))
    properties = {**spark.conf, **spark.settings, **_of_pod(layout, ui_port, env)}
    (layout.conf / "spark-defaults.conf").write_text(as_text(properties))


def as_text(properties: Mapping[str, str]) -> str:
    """As Java reads properties. What would be read as something else is escaped, a space at the beginning too."""
    lines = []
    for name, value in sorted(properties.items()):
        text = value.translate(_ESCAPES)
        lines.append(f"{name}={chr(92) if text.startswith(' ') else ''}{text}\n")
    return "".join(lines)


def environment(config: Config, spark: Spark, layout: Layout) -> dict[str, str]:
    """What a script of Spark's finds. The addresses are those of Hadoop's S3A, with another scheme than boto3's."""
    inputs = {f"HEADRACE_INPUT_{_variable(one.name)}": s3a(one.uri) for one in config.datasets}
    return inputs | {
        "HEADRACE_DATASET_DIR": s3a(staging(config, spark)),
        "SPARK_CONF_DIR": str(layout.conf),
        # Whose address the UI listens at. The driver's own ports have one of their own.
        "SPARK_LOCAL_IP": _LOOPBACK,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


def staging(config: Config, spark: Spark) -> str:
    """The s3:// address where this attempt's executors write."""
    return f"{spark.staging}/{folder_of(config.job.attempt)}"


def s3a(uri: str) -> str:
    """The address as Hadoop has it."""
    return f"s3a://{uri.removeprefix('s3://')}"


def _of_pod(layout: Layout, ui_port: int, env: Mapping[str, str]) -> dict[str, str]:
    found = {
        "spark.eventLog.dir": layout.events.as_uri(),
        "spark.ui.port": str(ui_port),
    }
    if env.get(JARS_VARIABLE):
        found["spark.driver.extraClassPath"] = f"{env[JARS_VARIABLE]}{os.sep}*"
    if env.get(POD_NAME):
        address = env.get(POD_ADDRESS, "")
        found |= {
            "spark.driver.bindAddress": "::" if ":" in address else "0.0.0.0",
            "spark.driver.host": f"[{address}]" if ":" in address else address,
            "spark.driver.port": str(_DRIVER_PORT),
            "spark.driver.blockManager.port": str(_BLOCKS_PORT),
            "spark.kubernetes.driver.pod.name": env[POD_NAME],
            "spark.kubernetes.executor.podTemplateFile": str(layout.template),
        }
    return found


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")

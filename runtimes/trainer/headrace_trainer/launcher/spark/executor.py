"""What an executor's pod runs: Spark has put into its environment what it is to be, and Java is started with that.

The environment is that of Spark's own image, whose entrypoint this takes the place of: ours is Python's image.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

JARS_VARIABLE = "HEADRACE_SPARK_JARS"
_MAIN = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
_ARGUMENTS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}
_OPTION = re.compile(r"SPARK_JAVA_OPT_([0-9]+)")


def command(env: Mapping[str, str], home: Path) -> list[str]:
    """Java's command line. Raises KeyError where Spark has not said something."""
    numbered = ((int(found[1]), value) for name, value in env.items() if (found := _OPTION.fullmatch(name)))
    own = [f"{env[JARS_VARIABLE]}/*"] if env.get(JARS_VARIABLE) else []
    classes = [*own, f"{home / 'jars'}/*", *filter(None, [env.get("SPARK_EXTRA_CLASSPATH")])]
    arguments = [word for option, name in _ARGUMENTS.items() for word in (option, env[name])]
    options = [value for _, value in sorted(numbered)]
    heap = f"-Xmx{env['SPARK_EXECUTOR_MEMORY']}"
    return ["java", *options, heap, "-cp", os.pathsep.join(classes), _MAIN, *arguments]


def spark_home() -> Path | None:
    """The folder of PySpark, which has Spark's jars; None where the image has none. Nothing is imported."""
    found = find_spec("pyspark")
    return None if found is None or found.origin is None else Path(found.origin).parent


def main() -> None:
    home = spark_home()
    if home is None:
        sys.exit("this image has no PySpark: an image for type Spark is made from Headrace's spark image")
    words = command(os.environ, home)
    os.execvpe(words[0], words, {**os.environ, "SPARK_HOME": str(home)})


if __name__ == "__main__":
    main()

"""spec.prepare.spark: how a preparation of type Spark is spread over executors."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import Model, Rule, Schema
from headrace.api.common import Resources, memory_of_at_least
from headrace.api.scalars import Subdomain

SERVICE_ACCOUNT = "headrace-spark"
"""Of a tenant: `headrace tenant add` makes it."""

SECRET_NAMES = "(?i)secret|password|token|access[.]?key|encryption[.]key|account[.]key|[.]key$|credential|azure[.]sas"
"""What a property is called whose value nobody is to read: refused in conf, and left out of the event log."""

# What Headrace sets, each for the reason that its rule has.
SET = (
    "spark.app.name",
    "spark.authenticate",
    "spark.driver.bindAddress",
    "spark.driver.blockManager.port",
    "spark.driver.extraClassPath",
    "spark.driver.host",
    "spark.driver.memory",
    "spark.driver.port",
    "spark.dynamicAllocation.enabled",
    "spark.eventLog.compress",
    "spark.eventLog.dir",
    "spark.eventLog.enabled",
    "spark.eventLog.rolling.enabled",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.hadoop.fs.s3a.connection.ssl.enabled",
    "spark.hadoop.fs.s3a.endpoint",
    "spark.hadoop.fs.s3a.endpoint.region",
    "spark.hadoop.fs.s3a.path.style.access",
    "spark.master",
    "spark.redaction.regex",
    "spark.submit.deployMode",
    "spark.ui.enabled",
    "spark.ui.killEnabled",
    "spark.ui.port",
    "spark.ui.showConsoleProgress",
)
_LEAST_MEMORY = "1Gi"
# What would make an executor's pod, or the driver's, larger than what is asked for it, or ask for devices.
_RESOURCES = "spark[.](executor[.]pyspark[.]memory|memory[.]offHeap[.].*|(driver|executor|task)[.]resource[.].*)"
_LISTED = ", ".join(f"'{name}'" for name in SET)


_KNOWN = "has(self.{0}) ? self.{0}.all(name, name in ['cpu', 'memory', 'ephemeral-storage']) : true"


class ExecutorResources(Resources):
    """Compute resources of each executor's pod: cpu, memory and ephemeral-storage."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *Resources.cel,
        Rule(
            f"({_KNOWN.format('limits')}) && ({_KNOWN.format('requests')})",
            "an executor is given cpu, memory and ephemeral-storage: leave other resources out",
        ),
        Rule(
            memory_of_at_least(_LEAST_MEMORY),
            f"an executor needs {_LEAST_MEMORY} of memory: Spark's own part and Python's leave too little of less",
        ),
    )


class Spark(Model):
    """How the program is spread: its pod is Spark's driver, which makes a pod for each executor."""

    executors: Annotated[int, Schema("Number of executors.", minimum=1, maximum=500)] = 2
    executor_resources: Annotated[
        ExecutorResources,
        Schema(
            "Compute resources of each executor. Of its memory 30 percent, and 384Mi at least, are left for Python and "
            "for what Java needs beside its heap. What does not fit into memory is on its disk: ephemeral-storage "
            "bounds it. Absent: 1 cpu and 2Gi."
        ),
    ] = ExecutorResources()
    service_account_name: Annotated[
        Subdomain,
        Schema(
            "The service account with which the driver makes its executors. `headrace tenant add` makes the one that "
            "is the default."
        ),
    ] = SERVICE_ACCOUNT
    conf: Annotated[
        dict[str, Annotated[str, Schema("Its value.", maxLength=1024)]],
        Schema(
            'Properties of Spark, such as {spark.sql.shuffle.partitions: "64"}. Those that Headrace sets are refused.',
            maxProperties=64,
            rules=(
                Rule(
                    "self.all(name, size(name) <= 128 && name.matches('^spark[.][A-Za-z0-9._-]+$'))",
                    "a property is named like spark.sql.shuffle.partitions",
                ),
                Rule(
                    f"self.all(name, !(name in [{_LISTED}]))",
                    "Headrace sets spark.master, spark.driver.host and .port, spark.ui.*, spark.eventLog.*, the "
                    "address of the store (spark.hadoop.fs.s3a.endpoint and what belongs to it), and the number, "
                    "cores and memory of executors itself: use prepare.spark.executors, "
                    "prepare.spark.executorResources and prepare.resources",
                ),
                Rule(
                    f"self.all(name, !name.matches('^{_RESOURCES}$'))",
                    "what a pod gets is said in prepare.spark.executorResources and prepare.resources: leave "
                    "spark.executor.pyspark.memory, spark.memory.offHeap.* and spark.executor.resource.* out",
                ),
                Rule(
                    "self.all(name, !name.startsWith('spark.kubernetes.'))",
                    "Headrace sets spark.kubernetes.*: what a pod is to have besides goes into spec.podTemplate, which "
                    "holds for executors too",
                ),
                Rule(
                    f"self.all(name, !name.matches('{SECRET_NAMES}'))",
                    "no credentials in properties, which everybody can read: executors have those of "
                    "spec.storage.secretRef, or of the service account",
                ),
            ),
        ),
    ] = Field(default_factory=dict)

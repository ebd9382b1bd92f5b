"""`spec.prepare` of type Spark: a driver and two executors in pods. One of them is killed while it works, and no row is
lost; the same again is not done. A tier of its own, `scripts/test spark`: the image takes minutes to build.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

import pyarrow
import pytest

from headrace_trainer.launcher.spark.executor import JARS_VARIABLE
from platform_under_test import REPOSITORY, Object, Platform, Tenant

pytestmark = pytest.mark.skipif(not os.environ.get(JARS_VARIABLE), reason="scripts/test spark")

PAGE = (REPOSITORY / "docs" / "how-to" / "prepare-with-spark.md").read_text()
PREPARE = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "SparkSession" in text)
# Each row takes some time, so that there is a middle to kill an executor in.
SLOW = PREPARE.replace(
    "cleaned = ",
    "import time\nfrom pyspark.sql.functions import udf\n"
    "wait = udf(lambda text: (time.sleep(0.2), text)[1]).asNondeterministic()  # else it is moved before the shuffle\n"
    "raw = raw.repartition(16).withColumn('text', wait('text'))\ncleaned = ",
)
TRAIN = """
import pandas, glob
import headrace_client as headrace
rows = pandas.concat([pandas.read_parquet(file) for file in glob.glob("/data/cleaned/train/*.parquet")])
headrace.log({"rows": len(rows), "texts": rows["text"].nunique()})
"""
ROWS = 400
REVIEWS = "text,stars\n" + "".join(f"A fine film number {number},{number % 5 + 1}\n" for number in range(ROWS))
IMAGE = "headrace.local/spark:dev"
SMALL = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}


@pytest.fixture(scope="module", autouse=True)
def _image(platform: Platform) -> None:
    platform.cluster.build_project(("spark",))


def start(tenant: Tenant, name: str, script: str, *, spark: Object | None = None, **spec: Any) -> None:
    data = {"prepare.py": script, "train.py": TRAIN}
    tenant.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    prepare = {
        "type": "Spark",
        "entrypoint": "prepare.py",
        "parameters": {"least_words": 3},
        "datasets": [{"name": "raw", "uri": f"s3://{tenant.namespace}/spark-raw/"}],
        "spark": {"executors": 2, "executorResources": SMALL} | (spark or {}),
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1536Mi"}},
        "output": {"name": "cleaned"},
    }
    # Its training needs pandas alone, which this image has: the trainer's is not built for it.
    common = {
        "framework": "Script",
        "image": IMAGE,
        "storage": {"secretRef": {"name": "headrace-storage"}},
        "tracking": {"experiment": "spark"},
    }
    tenant.train(name, **common | spec, prepare=prepare)


def executors(tenant: Tenant, name: str) -> list[Object]:
    labels = f"headrace.dev/trainingjob={name},spark-role=executor"
    found: list[Object] = json.loads(tenant.kubectl("get", "pods", "-l", labels, "--output=json"))["items"]
    return found


def prepared(status: Object) -> Object:
    [stage] = [stage for stage in status["stages"] if stage["name"] == "Prepare"]
    return stage


@pytest.fixture(scope="module")
def killed(tenant: Tenant) -> tuple[Object, set[str]]:
    """A job of which an executor is deleted in the middle: its status at the end, and the pods that were seen."""
    tenant.s3().put_object(Bucket=tenant.namespace, Key="spark-raw/reviews.csv", Body=REVIEWS.encode())
    start(tenant, "reviews", SLOW)
    tenant.wait("trainingjob", "reviews", lambda s: ((s.get("progress") or {}).get("executors") or 0) == 2, 600)
    pods = executors(tenant, "reviews")
    for pod in pods:
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "Pod"  # the driver's: they go with it
        assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
        assert not any("serviceaccount" in mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"])
    tenant.wait("trainingjob", "reviews", _is_in_the_middle, 300)
    tenant.kubectl("delete", "pod", pods[0]["metadata"]["name"], "--grace-period=0", "--force")
    lost = tenant.wait("trainingjob", "reviews", lambda s: (s.get("progress") or {}).get("executorsLost"), 300)
    assert lost["state"] == "Running"
    return tenant.finished("reviews", 900), {pod["metadata"]["name"] for pod in pods}


def _is_in_the_middle(status: Object) -> bool:
    """Of the stage whose rows take their time: two others, of one task each, come before it."""
    progress = status.get("progress") or {}
    return progress.get("steps", 0) >= 3 and 20 <= progress.get("percent", 0) < 80


def test_a_killed_executor_costs_no_row(tenant: Tenant, killed: tuple[Object, set[str]]):
    status, pods = killed
    assert status["state"] == "Succeeded", status
    assert len(pods) == 2
    assert prepared(status)["attempts"] == 1  # no second attempt was needed
    assert (float(status["metrics"]["rows"]), float(status["metrics"]["texts"])) == (ROWS, ROWS)


def test_the_event_log_is_kept_with_the_run_and_has_both_executors(tenant: Tenant, killed: tuple[Object, set[str]]):
    status, _ = killed
    run = tenant.mlflow(f"runs/get?run_id={prepared(status)['run']['id']}")["run"]
    place = run["info"]["artifact_uri"].removeprefix(f"s3://{tenant.namespace}/")
    listed = tenant.s3().list_objects_v2(Bucket=tenant.namespace, Prefix=f"{place}/")["Contents"]
    [key] = [one["Key"] for one in listed if "/outputs/spark/" in one["Key"]]
    assert key.endswith(".zstd"), key  # whole: one that was cut off ends in .inprogress
    kept = tenant.s3().get_object(Bucket=tenant.namespace, Key=key)["Body"].read()
    log = pyarrow.input_stream(pyarrow.py_buffer(kept), compression="zstd").read().decode()
    events = [json.loads(line) for line in log.splitlines()]
    added = {event["Executor ID"] for event in events if event["Event"] == "SparkListenerExecutorAdded"}
    worked = {event["Task Info"]["Executor ID"] for event in events if event["Event"] == "SparkListenerTaskEnd"}
    assert added == {"1", "2", "3"}  # the third in place of the one that was killed
    assert {"1", "2"} <= worked
    assert events[-1]["Event"] == "SparkListenerApplicationEnd"

    secret, labels = tenant.secret("headrace-storage")["AWS_SECRET_ACCESS_KEY"], "headrace.dev/trainingjob=reviews"
    assert secret not in log
    for name in tenant.kubectl("get", "pods", "-l", labels, "-o", "name").split():
        assert secret not in tenant.kubectl("logs", name)
        assert secret not in tenant.kubectl("get", name, "--output=json")


def test_executors_are_gone_when_the_driver_is(tenant: Tenant, killed: tuple[Object, set[str]]):
    deadline = time.monotonic() + 60
    while left := executors(tenant, "reviews"):
        assert time.monotonic() < deadline, [pod["metadata"]["name"] for pod in left]
        time.sleep(1)


def test_the_same_preparation_is_not_done_twice(tenant: Tenant, killed: tuple[Object, set[str]]):
    status, _ = killed
    start(tenant, "reviews-same", SLOW)
    same = tenant.finished("reviews-same", 300)
    assert same["state"] == "Succeeded", same
    assert prepared(same)["reused"] is True
    assert same["dataset"]["digest"] == status["dataset"]["digest"]
    assert float(same["metrics"]["rows"]) == ROWS


def test_executors_that_fit_nowhere_and_an_account_without_rights_are_told(tenant: Tenant, killed: Object):
    tenant.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}})
    huge = {"executorResources": {"requests": {"cpu": "100m"}, "limits": {"memory": "900Gi"}}}
    start(tenant, "reviews-huge", PREPARE + "# huge\n", spark=huge, startDeadlineSeconds=45)
    start(tenant, "reviews-nobody", PREPARE + "# nobody\n", spark={"serviceAccountName": "nobody"})
    start(tenant, "reviews-missing", PREPARE + "# missing\n", spark={"serviceAccountName": "missing"})

    nobody, huge_status = tenant.finished("reviews-nobody", 300), tenant.finished("reviews-huge", 400)

    missing = tenant.wait("trainingjob", "reviews-missing", lambda s: s.get("reason") == "PodsRefused", 120)
    assert "headrace tenant add" in missing["message"]
    tenant.kubectl("delete", "trainingjob", "reviews-missing", "--wait=false")
    assert (nobody["state"], nobody["reason"]) == ("Failed", "SparkNotAllowed"), nobody
    assert "may not create pods" in nobody["failure"]["message"]
    assert (huge_status["state"], huge_status["reason"]) == ("Failed", "SparkExecutorsPending"), huge_status
    assert "Insufficient memory" in huge_status["failure"]["message"]
    assert executors(tenant, "reviews-nobody") == []

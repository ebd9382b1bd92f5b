"""A preparation by Spark as its pod runs it, with a real Spark on this machine's cores in place of executors in pods,
against a real store and a real MLflow. Needs PySpark, Java, and the jars that read s3a:// (`scripts/test spark`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pandas
import pytest
from trainer_support import SECRET_KEY, wait_until

from headrace_trainer.launcher.spark.executor import JARS_VARIABLE, spark_home

JARS = os.environ.get(JARS_VARIABLE, "")
pytestmark = [
    pytest.mark.skipif(spark_home() is None or shutil.which("java") is None, reason="scripts/test spark has it"),
    pytest.mark.skipif(not JARS or not Path(JARS).is_dir(), reason=f"scripts/test spark sets {JARS_VARIABLE}"),
]

PROGRAM = """
import os
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.getOrCreate()
raw = spark.read.csv(os.environ["HEADRACE_INPUT_RAW_ROWS"], header=True, inferSchema=True)
kept = raw.where(F.col("amount") >= int(os.environ.get("LEAST", "0"))).repartition(2, "id").sortWithinPartitions("id")
kept.write.parquet(os.environ["HEADRACE_DATASET_DIR"] + "/train")
print("rows", kept.count(), spark.conf.get("spark.sql.shuffle.partitions"))
"""
ROWS = 40
RAW = "id,amount\n" + "".join(f"{number},{number * 3}\n" for number in range(ROWS))


@pytest.fixture(scope="module")
def bucket(s3):
    name = s3.bucket()
    s3.put(name, "raw/rows.csv", RAW.encode())
    return name


@pytest.fixture
def prepare(program, s3, mlflow, bucket):
    """Starts a job's stage; the driver does the work of executors, on two cores."""
    tracking = mlflow.experiment("spark", f"s3://{bucket}/artifacts")

    def start(script=PROGRAM, *, uid="uid-1", attempt=1, conf=None, raw="raw/", **rest):
        settings = {
            "spark.master": "local[2]",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.hadoop.fs.s3a.endpoint": s3.endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        }
        spark = {
            "executors": 2,
            "settings": settings,
            "conf": {"spark.sql.shuffle.partitions": "3"} | (conf or {}),
            "executor": {},
            "staging": f"s3://{bucket}/headrace/staging/{uid}",
        }
        config = {
            "protocol": 6,
            "stage": "prepare",
            "prepare": {
                "name": "corpus",
                "uri": f"s3://{bucket}/headrace/datasets/corpus",
                "image": "i",
                "spark": spark,
            },
            "job": {"namespace": "team-a", "name": "job", "uid": uid, "attempt": attempt},
            "datasets": [{"name": "raw-rows", "uri": f"s3://{bucket}/{raw}", "path": "/data/raw-rows"}],
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "tracking": tracking,
        }
        return program(script, config=config, **rest)

    start.experiment = tracking["experimentId"]
    return start


def rows_of(s3, bucket, dataset):
    """The dataset's rows, of all its files."""
    prefix = dataset["uri"].removeprefix(f"s3://{bucket}/")
    keys = [key for key in s3.keys(bucket, prefix) if key.endswith(".parquet")]
    return pandas.concat([pandas.read_parquet(io.BytesIO(s3.get(bucket, key))) for key in keys])


def test_a_program_of_spark_makes_a_dataset_that_the_next_job_finds_made(prepare, s3, mlflow, bucket):
    # An attempt that was cut off has left something below the job's address.
    s3.put(bucket, "headrace/staging/uid-1/attempt-1/train/part-00000-old.snappy.parquet", b"old")

    first = prepare(attempt=2)
    seen = wait_until(lambda: (found := first.progress).get("steps") and found, 240, "Spark's stages are told")
    assert seen["executors"] == 0  # local: the driver alone
    assert first.wait(240) == 0, first.log

    assert f"rows {ROWS} 3" in first.log
    made = first.record["dataset"]
    assert sorted(rows_of(s3, bucket, made)["id"]) == list(range(ROWS))
    names = [key.rpartition("/")[2] for key in s3.keys(bucket, made["uri"].removeprefix(f"s3://{bucket}/"))]
    assert names == ["part-00000-c000.snappy.parquet", "part-00001-c000.snappy.parquet"]
    assert made["files"] == 2
    assert s3.keys(bucket, "headrace/staging/") == []
    assert first.record["progress"]["step"] == first.record["progress"]["steps"]

    [run] = [run for run in mlflow.runs(prepare.experiment) if run["info"]["run_id"] == first.record["run"]["id"]]
    logs = [key for key in s3.keys(bucket, "artifacts/") if "/spark/" in key]
    assert len(logs) == 1, s3.keys(bucket, "artifacts/")
    assert not logs[0].endswith(".inprogress")  # Java had the time to end
    events = [json.loads(line) for line in s3.get(bucket, logs[0]).splitlines()]
    assert events[-1]["Event"] == "SparkListenerApplicationEnd"
    assert SECRET_KEY not in json.dumps(events)
    assert SECRET_KEY not in first.log
    assert run["info"]["status"] == "FINISHED"

    same = prepare(uid="uid-2")
    assert same.wait(120) == 0, same.log
    assert same.record["dataset"] == made | {"reused": True}
    assert "rows" not in same.log

    # Another property: another preparation. Of the same rows, but Java writes the bytes of Parquet as it likes.
    other = prepare(uid="uid-3", conf={"spark.sql.shuffle.partitions": "4"})
    assert other.wait(240) == 0, other.log
    assert f"rows {ROWS} 4" in other.log
    assert sorted(rows_of(s3, bucket, other.record["dataset"])["id"]) == list(range(ROWS))


def test_what_goes_wrong_is_told_as_one_cause(prepare, s3, bucket):
    nothing = prepare(
        "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate().range(3).count()", uid="uid-4"
    )
    assert nothing.wait(240) == 2, nothing.log
    assert (nothing.record["class"], nothing.record["reason"]) == ("Config", "NoDataset")
    assert "HEADRACE_DATASET_DIR" in nothing.record["hint"]

    s3.put(bucket, "moving/rows.csv", RAW.encode())
    adds = f"boto3.client('s3', endpoint_url='{s3.endpoint}').put_object(Bucket='{bucket}', Key='moving/more.csv')"
    program = f"import boto3\n{PROGRAM}\n{adds}\n"
    moving = prepare(program, uid="uid-5", raw="moving/")
    assert moving.wait(240) == 2, moving.log
    assert (moving.record["class"], moving.record["reason"]) == ("Data", "DatasetChanged")
    assert "more.csv" in moving.record["message"]

    missing = prepare(uid="uid-6", raw="nowhere/")
    assert missing.wait(120) == 2, missing.log
    assert missing.record["reason"] == "DatasetNotFound"

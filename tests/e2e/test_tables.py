"""`spec.prepare.tables`: the TrainingJob of the how-to page in real pods, first without its Secret."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pyarrow.parquet
import pytest
import yaml

from platform_under_test import REPOSITORY, Object, Tenant

PAGE = (REPOSITORY / "docs" / "how-to" / "prepare-data.md").read_text()
SPEC: Object = next(
    found["spec"]
    for found in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    if found["spec"]["prepare"]["type"] == "Tables"
)
TRAIN = """
import json
from pathlib import Path
import pandas
import headrace_client as headrace
folder = Path("/data/prepared")
rows = {path.stem: len(pandas.read_parquet(path)) for path in folder.glob("*.parquet")}
assert rows == json.loads((folder / "report.json").read_text())["rows"]
headrace.log(rows)
"""
ROWS = [
    (
        visit % 20,
        f"patient{visit % 20}@mail.example",
        20 + visit % 60,
        "Ulm" if visit % 3 else "",
        "2026-11-30",
        visit % 5 == 0,
    )
    for visit in range(200)
]


def as_csv(rows: list[tuple[Any, ...]]) -> bytes:
    lines = [",".join(map(str, row)) for row in rows]
    return "\n".join(["patient,email,age,city,day,ill", *lines, ""]).encode()


def start(tenant: Tenant, name: str, rows: list[tuple[Any, ...]]) -> None:
    """The page's job on these rows."""
    tenant.s3().put_object(Bucket=tenant.namespace, Key=f"{name}/visits.csv", Body=as_csv(rows))
    tenant.script(name, TRAIN)
    datasets = [{"name": "raw", "uri": f"s3://{tenant.namespace}/{name}/"}]
    given = {key: value for key, value in SPEC.items() if key not in ("source", "output")}
    tenant.train(name, **given | {"framework": "Script", "prepare": SPEC["prepare"] | {"datasets": datasets}})


@pytest.fixture(scope="module")
def waiting(tenant: Tenant) -> Object:
    start(tenant, "visits", ROWS)
    return tenant.wait("trainingjob", "visits", lambda status: status.get("reason") == "ContainerConfig")


@pytest.fixture(scope="module")
def done(tenant: Tenant, waiting: Object) -> Object:
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "masking"}, "stringData": {"key": "k" * 64}}
    tenant.apply(key)
    start(tenant, "wrong", [*ROWS[:3], (3, "no address", 200, "Ulm", "soon", True)])
    return tenant.finished("visits")


def test_a_secret_that_is_missing_is_named_and_waited_for(waiting: Object):
    assert "masking" in waiting["message"]


def test_the_training_finds_the_parts_and_nothing_that_was_hidden(tenant: Tenant, done: Object):
    assert done["state"] == "Succeeded", done
    assert sum(float(done["metrics"][part]) for part in ("train", "validation", "test")) == 200
    _, _, place = done["dataset"]["uri"].partition(f"s3://{tenant.namespace}/")
    s3 = tenant.s3()
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=tenant.namespace, Prefix=place)["Contents"]]
    files = {key.removeprefix(place): s3.get_object(Bucket=tenant.namespace, Key=key)["Body"].read() for key in keys}
    assert sorted(files) == ["report.json", "test.parquet", "train.parquet", "validation.parquet"]
    tables = {name: pyarrow.parquet.read_table(io.BytesIO(files[f"{name}.parquet"])) for name in ("train", "test")}
    assert tables["train"].column_names == ["patient", "age", "city", "day", "ill", "weight"]
    patients = [set(table.column("patient").to_pylist()) for table in tables.values()]
    assert not patients[0] & patients[1]
    assert all(re.fullmatch("[0-9a-f]{64}", patient) for patient in patients[0])
    assert json.loads(files["report.json"])["read"]["rows"] == 200
    assert not [name for name, content in files.items() if b"mail.example" in content]


def test_what_does_not_hold_is_told_by_rows_in_the_status(tenant: Tenant, done: Object):
    failure = tenant.finished("wrong")["failure"]
    assert (failure["class"], failure["reason"], failure["retryable"]) == ("Data", "SchemaViolated", False)
    assert "age: 1 values are above 130 (row 4: '200')" in failure["message"]
    assert "email: 1 values do not match @ (row 4; values of a private column are not shown)" in failure["message"]
    assert failure["message"].startswith("prepare: ")

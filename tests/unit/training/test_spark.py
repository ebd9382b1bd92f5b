"""A preparation by Spark: what the driver's pod has and is told, and what its executors will have."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from headrace.api import spark as api
from headrace.labels import MANAGED_BY, TRAINING_JOB_UID
from headrace.settings import StorageSettings
from headrace.training.gpus import image_of
from headrace.training.job import AttemptContext, render_job
from headrace.training.spark import quantity
from headrace.training.stages import part_of
from headrace_common.protocol.config import parse_config
from headrace_trainer.launcher.spark import files
from training_builders import PREPARE, SETTINGS, SPARK, training_job

CONTEXT = AttemptContext(1, "spark:1", experiment_id="3", bucket="team-a")
WITH_IMAGE = replace(SETTINGS, spark_image="headrace/spark:1")


def pod_of(prepare, settings=SETTINGS, number=1, **spec):
    job = training_job(workers=1, prepare=prepare, **spec)
    return render_job(part_of(job), replace(CONTEXT, number=number), settings)["spec"]["template"]["spec"]


def told(prepare=SPARK, settings=SETTINGS, number=1, **spec):
    [container] = pod_of(prepare, settings, number, **spec)["containers"]
    text = next(one["value"] for one in container["env"] if one["name"] == "HEADRACE_CONFIG")
    return parse_config(text.replace("$$", "$")).prepare.spark


def test_the_driver_proves_who_it_is_and_knows_itself():
    pod = pod_of(SPARK, serviceAccountName="trainer")
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("headrace-spark", True)
    [container] = pod["containers"]
    fields = {one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in container["env"] if "valueFrom" in one}
    assert fields == {"HEADRACE_POD_NAME": "metadata.name", "HEADRACE_POD_IP": "status.podIP"}


def test_no_other_stage_is_given_a_token():
    pod = pod_of(PREPARE)
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert "HEADRACE_POD_NAME" not in json.dumps(pod)


@pytest.mark.parametrize(
    ("prepare", "spec", "image"),
    [
        (SPARK, {}, "headrace/spark:1"),
        (SPARK | {"image": "own:1"}, {}, "own:1"),
        # That of the training has no PySpark.
        (SPARK, {"image": "torch:1"}, "headrace/spark:1"),
        (SPARK, {"source": {"image": "code:1"}}, "code:1"),
        (PREPARE, {}, SETTINGS.trainer_image),
        (PREPARE, {"image": "torch:1"}, "torch:1"),
    ],
)
def test_the_image_is_sparks_unless_the_preparation_names_one(prepare, spec, image):
    assert image_of(part_of(training_job(workers=1, prepare=prepare, **spec)), WITH_IMAGE) == image


def is_refused(name):
    """As admission does it (tests/integration/test_api.py)."""
    by_name = name in api.SET or name.startswith("spark.kubernetes.")
    return by_name or re.search(api.SECRET_NAMES, name) is not None


def test_what_headrace_sets_is_refused_in_conf(tmp_path):
    """A property that is quietly passed over is a search of hours."""
    pod = {"HEADRACE_POD_NAME": "p", "HEADRACE_POD_IP": "10.0.0.7", "HEADRACE_SPARK_JARS": "/opt/spark-jars"}
    layout = files.Layout(tmp_path / "spark", tmp_path / "outputs")
    bare = {name: value for name, value in SPARK["spark"].items() if name != "conf"}
    pulled = replace(SETTINGS, image_pull_secrets=("registry",))
    files.write(told(SPARK | {"spark": bare}, pulled), layout, 4040, pod)

    lines = (layout.conf / "spark-defaults.conf").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines]
    assert "spark.driver.host" in names
    assert [name for name in names if not is_refused(name)] == []


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("spark.hadoop.fs.s3a.secret.key", True),
        ("spark.hadoop.fs.s3a.encryption.key", True),
        ("spark.hadoop.fs.s3a.server-side-encryption.key", True),
        ("spark.hadoop.fs.azure.account.key.acct.blob.core.windows.net", True),
        ("spark.hadoop.fs.azure.sas.container.acct.blob.core.windows.net", True),
        ("spark.hadoop.fs.gs.auth.service.account.private.key", True),
        ("spark.ssl.keyStorePassword", True),
        ("spark.sql.shuffle.partitions", False),
        ("spark.sql.keyed.cache", False),
    ],
)
def test_properties_that_hold_secrets_are_known_by_their_names(name, is_secret):
    assert (re.search(api.SECRET_NAMES, name) is not None) is is_secret
    # In the event log, too: a program may set them itself.
    assert told().settings["spark.redaction.regex"] == api.SECRET_NAMES


def test_executors_get_the_image_the_number_and_what_is_asked_for_each():
    settings = told().settings
    assert settings["spark.executor.instances"] == "3"
    assert settings["spark.kubernetes.container.image"] == "spark:1"
    assert settings["spark.kubernetes.executor.request.cores"] == "500m"
    assert settings["spark.kubernetes.executor.limit.cores"] == "1500m"
    assert settings["spark.executor.cores"] == "1"  # the tasks at once
    heap, outside = settings["spark.executor.memory"], settings["spark.executor.memoryOverhead"]
    assert (heap, outside) == ("2867m", "1229m")
    assert int(heap[:-1]) + int(outside[:-1]) == 4096  # what the pod asks for
    assert settings["spark.driver.memory"] == "1024m"


def test_without_resources_there_are_defaults_and_no_limit_of_cpu():
    bare = {name: value for name, value in SPARK.items() if name not in ("spark", "resources")}
    settings = told(bare).settings
    assert settings["spark.executor.instances"] == "2"
    assert (settings["spark.executor.cores"], settings["spark.kubernetes.executor.request.cores"]) == ("1", "1")
    assert int(settings["spark.executor.memory"][:-1]) + int(settings["spark.executor.memoryOverhead"][:-1]) == 2048
    assert not {"spark.kubernetes.executor.limit.cores", "spark.driver.memory"} & settings.keys()


def test_an_executor_may_do_nothing_and_write_nowhere_but_in_its_own_folders():
    pod = told(storage={"secretRef": {"name": "headrace-storage"}}).executor["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/headrace/work", "/tmp"}
    # The kubelet reads them: neither the operator nor the driver does.
    references = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}
    assert set(references) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert {one["name"] for one in references.values()} == {"headrace-storage"}


def test_what_an_executor_may_write_is_bounded_where_the_spec_says_so():
    unbounded = told().executor["spec"]
    assert {json.dumps(volume["emptyDir"]) for volume in unbounded["volumes"]} == {"{}"}
    assert "resources" not in unbounded["containers"][0]

    resources = {"limits": {"memory": "4Gi", "ephemeral-storage": "20Gi"}, "requests": {"ephemeral-storage": "5Gi"}}
    pod = told(SPARK | {"spark": {"executorResources": resources}}).executor["spec"]
    assert {volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"]} == {"20Gi"}
    # Spark adds cpu and memory.
    disk = {"requests": {"ephemeral-storage": "5Gi"}, "limits": {"ephemeral-storage": "20Gi"}}
    assert pod["containers"][0]["resources"] == disk


def test_executors_are_let_in_by_the_network_policy_and_are_no_workers_of_the_operators():
    labels = told().executor["metadata"]["labels"]
    assert labels[TRAINING_JOB_UID]
    assert MANAGED_BY not in labels


def test_the_pod_template_holds_for_executors_too():
    template = {
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "trainer", "env": [{"name": "A", "value": "1"}]}],
        }
    }
    pod = told(podTemplate=template).executor["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert {"name": "A", "value": "1"} in pod["containers"][0]["env"]
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("endpoint", "encrypted"), [("http://s3:7070", "false"), ("https://s3.example.org", "true"), ("", None)]
)
def test_the_store_is_the_platforms(endpoint, encrypted):
    settings = told(settings=replace(SETTINGS, storage=StorageSettings(endpoint, "eu-west-1"))).settings
    assert settings["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert settings.get("spark.hadoop.fs.s3a.connection.ssl.enabled") == encrypted
    assert settings.get("spark.hadoop.fs.s3a.endpoint", "") == endpoint


def test_pods_of_two_attempts_never_have_one_name():
    names = {told(number=number).settings["spark.kubernetes.executor.podNamePrefix"] for number in (1, 2)}
    assert len(names) == 2
    assert max(map(len, names)) <= 47  # Spark's bound


def test_what_executors_write_goes_to_a_folder_of_the_job():
    spark = told()
    assert spark.staging.startswith("s3://team-a/headrace/staging/")
    assert spark.conf == {"spark.sql.shuffle.partitions": "64"}


@pytest.mark.parametrize(("seconds", "waits"), [(None, 600), (90, 90)])
def test_executors_are_waited_for_as_pods_are(seconds, waits):
    spec = {} if seconds is None else {"startDeadlineSeconds": seconds}
    assert told(**spec).pending_seconds == waits


@pytest.mark.parametrize(
    ("text", "number"), [("500m", "0.5"), (2, "2"), ("1.5", "1.5"), ("4Gi", str(4 << 30)), ("2M", "2000000")]
)
def test_quantities_are_read_as_kubernetes_does(text, number):
    assert quantity(text) == Decimal(number)

"""What the chart's parts are told: the operator, MLflow, the S3 store and the gateway."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.labels import TRAINING_JOB_UID
from headrace.serving.runtimes.table import parse_runtimes
from headrace.settings import Settings, SettingsError
from headrace_local.platform import mlflow_environment
from kubelet import started


def decoded(secret):
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def operator_environment(objects):
    """But for the table of servers, which is a file in the container (see `told_runtimes`)."""
    values = objects.env("headrace-operator").items()
    told = {name: value if isinstance(value, str) else "from-a-secret" for name, value in values}
    return {name: value for name, value in told.items() if name != "HEADRACE_SERVING_RUNTIMES"}


def test_operator_understands_what_it_is_told(render) -> None:
    settings = Settings.from_environment(operator_environment(render("watchNamespaces={team-a,team-b}")))
    assert settings.operator_namespace == "headrace-system"
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.trainer_image == "headrace/trainer:0.1.0"
    assert settings.loader_image == "headrace/loader:0.1.0"
    assert settings.explainer_image == "headrace/explainer:0.1.0"
    assert settings.health_port == 8080
    assert settings.model_clients == {"headrace.dev/model-client": "true"}
    assert settings.storage is not None
    assert settings.storage.endpoint == "http://headrace-s3.headrace-system.svc:7070"
    assert settings.tracking is not None
    assert settings.tracking.url == "http://headrace-mlflow.headrace-system.svc:5000"


def told_runtimes(objects):
    """As the operator reads them where the ConfigMap is mounted."""
    pod = objects.of("Deployment")["headrace-operator"]["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if "configMap" in volume]
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == volume["name"]]
    data = objects.of("ConfigMap")[volume["configMap"]["name"]]["data"]
    place = objects.env("headrace-operator")["HEADRACE_SERVING_RUNTIMES"]
    table = parse_runtimes(data[place.removeprefix(f"{mount['mountPath']}/")])
    assert not table.refused
    return table.runtimes


def test_operator_is_told_the_servers_with_the_images_of_the_release(render) -> None:
    told = told_runtimes(render("images.onnxruntime=example.com/own:1"))
    assert {name: entry.image for name, entry in told.items()} == {
        "onnxruntime": "example.com/own:1",
        "text": "headrace/text:0.1.0",
        "tensorflow-serving": "headrace/tensorflow-serving:0.1.0",
    }


MINE = (
    "servingRuntimes.mine.formats[0].name=ONNX",
    "servingRuntimes.mine.ports.http=9000",
    "servingRuntimes.mine.probes.readiness.tcpSocket.port=http",
    "servingRuntimes.mine.args[0]=$(MODEL_DIR)",
)


def test_an_administrator_adds_a_server_and_takes_one_away(render) -> None:
    told = told_runtimes(render(*MINE, "servingRuntimes.tensorflow-serving=null"))
    assert set(told) == {"onnxruntime", "text", "mine"}
    assert (told["mine"].image, told["mine"].args) == ("", ("$(MODEL_DIR)",))


def test_a_change_of_the_servers_starts_the_operator_anew(render) -> None:
    def annotations(objects):
        return objects.of("Deployment")["headrace-operator"]["spec"]["template"]["metadata"]["annotations"]

    assert annotations(render()) == annotations(render("operator.replicas=2"))
    assert annotations(render()) != annotations(render(*MINE))


def test_operator_refuses_a_table_that_it_cannot_use(render, tmp_path) -> None:
    table = tmp_path / "runtimes.json"
    told = operator_environment(render()) | {"HEADRACE_SERVING_RUNTIMES": str(table)}
    with pytest.raises(SettingsError, match=r"HEADRACE_SERVING_RUNTIMES: .*No such file"):
        Settings.from_environment(told)
    table.write_text("[]")
    with pytest.raises(SettingsError, match=r"HEADRACE_SERVING_RUNTIMES: servingRuntimes: "):
        Settings.from_environment(told)


def test_an_entry_that_cannot_be_used_costs_neither_the_operator_nor_another_server(render, tmp_path, caplog) -> None:
    """Helm's schema does not see a probe of a port that is not there."""
    objects = render(*MINE, "servingRuntimes.mine.probes.readiness.tcpSocket.port=grpc")
    table = tmp_path / "runtimes.json"
    table.write_text(objects.of("ConfigMap")["headrace-serving-runtimes"]["data"]["runtimes.json"])

    settings = Settings.from_environment(operator_environment(objects) | {"HEADRACE_SERVING_RUNTIMES": str(table)})

    assert set(settings.runtimes) == {"onnxruntime", "tensorflow-serving", "text"}
    assert set(settings.refused_runtimes) == {"mine"}
    assert "servingRuntimes.mine: " in caplog.text


def test_operator_asks_for_the_releases_pull_secrets_where_it_makes_pods(render) -> None:
    settings = Settings.from_environment(operator_environment(render("image.pullSecrets={registry,mirror}")))
    assert settings.image_pull_secrets == ("registry", "mirror")
    assert Settings.from_environment(operator_environment(render())).image_pull_secrets == ()


def test_operator_is_told_the_package_index(render) -> None:
    url = "https://pypi.example.com/simple"
    settings = Settings.from_environment(operator_environment(render(f"trainer.packageIndex.url={url}")))
    assert settings.package_index_url == url
    assert Settings.from_environment(operator_environment(render())).package_index_url == ""


def test_operator_is_told_the_image_for_gpus(render) -> None:
    image = "registry.example.com/headrace/trainer-gpu:1"
    settings = Settings.from_environment(operator_environment(render(f"trainer.gpuImage={image}")))
    assert settings.trainer_gpu_image == image
    assert Settings.from_environment(operator_environment(render())).trainer_gpu_image == ""


def test_operator_is_told_the_image_of_spark(render) -> None:
    told = Settings.from_environment(operator_environment(render())).spark_image
    assert told == "headrace/spark:0.1.0"
    named = Settings.from_environment(operator_environment(render("images.spark=example.com/own:1"))).spark_image
    assert named == "example.com/own:1"


def test_external_servers_replace_the_built_in_ones(render) -> None:
    objects = render(
        "mlflow.enabled=false",
        "mlflow.url=https://mlflow.example.com",
        "mlflow.existingSecret=mlflow-operator",
        "s3.enabled=false",
        "s3.endpoint=https://s3.example.com",
        "gateway.enabled=false",
    )
    assert set(objects.of("Deployment")) == {"headrace-operator"}
    assert objects.of("Secret") == objects.of("PersistentVolumeClaim") == objects.of("NetworkPolicy") == {}
    env = objects.env("headrace-operator")
    assert env["HEADRACE_MLFLOW_URL"] == "https://mlflow.example.com"
    assert env["HEADRACE_MLFLOW_PASSWORD"] == ("mlflow-operator", "password")
    assert env["HEADRACE_S3_ENDPOINT"] == "https://s3.example.com"


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_operator_waits_for_the_gateway_as_long_as_that_collects_changes(enabled, render) -> None:
    """Also for a gateway that the chart does not bring."""
    objects = render("gateway.throttle=10s", f"gateway.enabled={enabled}")
    assert Settings.from_environment(operator_environment(objects)).gateway_throttle == timedelta(seconds=10)


@pytest.mark.parametrize("value", ["fast", "10", "-1s"])
def test_a_throttle_that_is_no_duration_is_refused_and_named(value, render) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_GATEWAY_THROTTLE"):
        Settings.from_environment(operator_environment(render()) | {"HEADRACE_GATEWAY_THROTTLE": value})


def test_operator_without_any_tracking_is_told_none(render) -> None:
    settings = Settings.from_environment(operator_environment(render("mlflow.enabled=false")))
    assert settings.tracking is None


@pytest.mark.parametrize(
    ("setting", "image"),
    [
        ("image.pullPolicy=Never", "headrace/operator:0.1.0"),
        ("image.registry=headrace.local,image.tag=dev", "headrace.local/operator:dev"),
        ("image.registry=registry.example.com/ml/headrace", "registry.example.com/ml/headrace/operator:0.1.0"),
        ("images.operator=example.com/own@sha256:0", "example.com/own@sha256:0"),
    ],
)
def test_image_names(setting, image, render) -> None:
    assert render(setting).container("headrace-operator")["image"] == image


def test_mlflow_gets_what_its_image_requires(render) -> None:
    env = render().env("headrace-mlflow")
    assert env["MLFLOW_AUTH_ADMIN_USERNAME"] == ("headrace-mlflow", "username")
    assert env["MLFLOW_AUTH_ADMIN_PASSWORD"] == ("headrace-mlflow", "password")
    assert env["MLFLOW_FLASK_SERVER_SECRET_KEY"] == ("headrace-mlflow", "flask-secret-key")
    assert env["MLFLOW_S3_ENDPOINT_URL"] == "http://headrace-s3.headrace-system.svc:7070"
    assert "MLFLOW_BACKEND_STORE_URI" not in env


def test_mlflow_has_a_store_user_of_its_own_and_not_the_root_user(render) -> None:
    objects = render()
    env = objects.env("headrace-mlflow")
    assert env["AWS_ACCESS_KEY_ID"] == ("headrace-s3-viewer", "accessKeyId")
    assert env["AWS_SECRET_ACCESS_KEY"] == ("headrace-s3-viewer", "secretAccessKey")
    viewer, root = (decoded(objects.of("Secret")[name]) for name in ("headrace-s3-viewer", "headrace-s3"))
    assert viewer["secretAccessKey"] != root["secretAccessKey"]


def test_mlflow_answers_to_its_service_and_to_its_public_name(render) -> None:
    env = render("mlflow.publicUrl=https://ml.example.com:8443/mlflow").env("headrace-mlflow")
    hosts = env["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for host in ("headrace-mlflow:*", "headrace-mlflow.headrace-system.svc:*", "localhost:*", "ml.example.com:8443"):
        assert host in hosts
    assert "*" not in hosts
    assert env["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://ml.example.com:8443"


def test_mlflow_on_postgres_takes_the_uri_from_a_secret(render) -> None:
    objects = render("mlflow.backendStore.existingSecret=database", "mlflow.backendStore.key=dsn")
    assert objects.env("headrace-mlflow")["MLFLOW_BACKEND_STORE_URI"] == ("database", "dsn")


@pytest.mark.parametrize("claim", ["", "mlflow.persistence.existingClaim=runs"])
def test_mlflow_on_postgres_has_no_volume(claim, render) -> None:
    objects = render("mlflow.backendStore.existingSecret=database", *filter(None, [claim]))
    assert set(objects.of("PersistentVolumeClaim")) == {"headrace-s3"}
    pod = objects.of("Deployment")["headrace-mlflow"]["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize(
    ("settings", "database_uri"),
    [((), ""), (("mlflow.backendStore.existingSecret=database",), "postgresql://u:p@db/mlflow")],
)
def test_integration_tests_run_mlflow_with_what_the_chart_gives_it(settings, database_uri, render) -> None:
    assert set(mlflow_environment(Path("data"), "http://store", database_uri)) == set(
        render(*settings).env("headrace-mlflow")
    )


def test_why_mlflow_does_not_start_is_in_its_pods_status(render) -> None:
    assert render().container("headrace-mlflow")["terminationMessagePolicy"] == "FallbackToLogsOnError"


LOST = "are lost with the pods"


@pytest.mark.parametrize(
    ("settings", "is_lost"),
    [
        ((), False),
        (("mlflow.persistence.enabled=false",), True),
        (("mlflow.persistence.enabled=false", "mlflow.backendStore.existingSecret=database"), False),
        (("s3.persistence.enabled=false", "mlflow.backendStore.existingSecret=database"), True),
    ],
)
def test_an_installation_warns_of_what_is_lost_with_its_pods(settings, is_lost, notes) -> None:
    assert (LOST in notes(*settings)) is is_lost


def test_an_installation_says_which_secret_names_its_database(notes) -> None:
    said = notes("mlflow.backendStore.existingSecret=database", "mlflow.backendStore.key=dsn")
    assert "the Postgres that key dsn of Secret database names" in said
    assert "Postgres" not in notes()


def test_mlflow_on_a_clouds_identity_gets_no_keys(render) -> None:
    objects = render("s3.enabled=false", "mlflow.serviceAccount.annotations.role=artifacts")
    assert not {"AWS_ACCESS_KEY_ID", "MLFLOW_S3_ENDPOINT_URL"} & set(objects.env("headrace-mlflow"))
    assert objects.of("ServiceAccount")["headrace-mlflow"]["metadata"]["annotations"] == {"role": "artifacts"}


def test_generated_passwords_are_long_and_differ(render) -> None:
    mlflow, s3 = (decoded(render().of("Secret")[name]) for name in ("headrace-mlflow", "headrace-s3"))
    secrets = [mlflow["password"], mlflow["flask-secret-key"], s3["secretAccessKey"]]
    assert all(len(secret) >= 32 for secret in secrets)
    assert len(set(secrets)) == 3


def test_no_password_stands_outside_a_secret(render) -> None:
    objects = render()
    secrets = [value for secret in objects.of("Secret").values() for key, value in decoded(secret).items()]
    elsewhere = str([item for item in objects if item["kind"] != "Secret"])
    assert [secret for secret in secrets if len(secret) >= 20 and secret in elsewhere] == []


def test_data_and_its_passwords_outlive_an_uninstall_together(render) -> None:
    kept = {
        (item["kind"], item["metadata"]["name"])
        for item in render()
        if item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
        and item["kind"] != "CustomResourceDefinition"
    }
    assert kept == {
        ("Secret", "headrace-mlflow"),
        ("PersistentVolumeClaim", "headrace-mlflow"),
        ("Secret", "headrace-s3"),
        ("Secret", "headrace-s3-viewer"),
        ("PersistentVolumeClaim", "headrace-s3"),
    }


def test_crds_outlive_an_uninstall(render) -> None:
    definitions = render().of("CustomResourceDefinition")
    assert "trainingjobs.headrace.dev" in definitions
    assert all(item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in definitions.values())


def test_who_holds_a_volume_is_never_two(render) -> None:
    deployments = render().of("Deployment")
    assert [deployments[name]["spec"]["strategy"] for name in ("headrace-mlflow", "headrace-s3")] == [
        {"type": "Recreate"},
        {"type": "Recreate"},
    ]


def test_gateway_listens_where_traefiks_entry_point_is(render) -> None:
    objects = render("gateway.className=models")
    (listener,) = objects.of("Gateway")["headrace"]["spec"]["listeners"]
    assert f"--entrypoints.web.address=:{listener['port']}" in objects.container("headrace-gateway")["command"]
    assert listener["allowedRoutes"] == {"namespaces": {"from": "All"}}
    assert objects.of("Gateway")["headrace"]["spec"]["gatewayClassName"] == "models"


def test_gateway_takes_this_releases_class_only(render) -> None:
    objects = render()
    selector = "--providers.kubernetesgateway.labelselector="
    (argument,) = [item for item in objects.container("headrace-gateway")["command"] if item.startswith(selector)]
    wanted = dict(pair.split("=") for pair in argument.removeprefix(selector).split(","))
    assert wanted.items() <= objects.of("GatewayClass")["headrace"]["metadata"]["labels"].items()


def test_services_find_their_pods(render) -> None:
    objects = render()
    for name, service in objects.of("Service").items():
        template = objects.of("Deployment")[name.removesuffix("-metrics")]["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        named = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_network_lets_in_headraces_pods_of_every_namespace(render) -> None:
    for policy in render().of("NetworkPolicy").values():
        (rule,) = policy["spec"]["ingress"]
        assert {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "headrace"}},
        } in rule["from"]
        assert {"namespaceSelector": {}} not in rule["from"]


def test_the_store_lets_in_executors_of_spark_which_have_not_the_label_of_our_pods(render) -> None:
    executors = {
        "namespaceSelector": {},
        "podSelector": {"matchExpressions": [{"key": TRAINING_JOB_UID, "operator": "Exists"}]},
    }
    policies = render().of("NetworkPolicy")
    let_in = {name for name, policy in policies.items() if executors in policy["spec"]["ingress"][0]["from"]}
    assert let_in == {"headrace-s3"}


def processes(objects):
    """Every process of the release as it starts, with the variables that come from Secrets."""
    pods = [item["spec"]["template"]["spec"] for item in objects if item["kind"] in ("Deployment", "Job")]
    pods += [item["spec"] for item in objects if item["kind"] == "Pod"]
    for container in (container for pod in pods for container in pod["containers"]):
        secrets = {item["name"]: "secret" for item in container.get("env", ()) if "valueFrom" in item}
        yield started(container, secrets)


def values_with(text):
    yield f"s3.region={text}"
    yield f"mlflow.publicUrl=https://mlflow.example.com/{text}"
    yield f"images.trainer=registry/{text}"


def external_values_with(text):
    yield from ("mlflow.enabled=false", "s3.enabled=false", "mlflow.existingSecret=mlflow")
    yield f"mlflow.url=https://mlflow.example.com/{text}"
    yield f"s3.endpoint=https://s3.example.com/{text}"


@pytest.mark.parametrize("text", ["$(HEADRACE_MLFLOW_PASSWORD)", "$(AWS_SECRET_ACCESS_KEY)", "a$$b"])
@pytest.mark.parametrize("values", [values_with, external_values_with])
def test_a_reference_in_a_value_reaches_the_processes_like_any_other_text(values, text, render) -> None:
    plain = json.dumps(list(processes(render(*values("verbatim")))))

    assert list(processes(render(*values(text)))) == json.loads(plain.replace("verbatim", text))

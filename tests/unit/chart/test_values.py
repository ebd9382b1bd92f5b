"""The chart's values: which combinations render, which are refused and in which words."""

import json

import pytest
import yaml

EXTERNAL = (
    "mlflow.enabled=false",
    "mlflow.url=https://mlflow.example.com",
    "mlflow.existingSecret=mlflow-operator",
    "s3.enabled=false",
    "s3.endpoint=https://s3.example.com",
    "gateway.enabled=false",
)
VALUE_SETS = {
    "everything built in": (),
    "everything external": EXTERNAL,
    "training only, nothing around it": (
        "mlflow.enabled=false",
        "s3.enabled=false",
        "gateway.enabled=false",
        "admission.enabled=false",
        "aggregateRoles.enabled=false",
        "networkPolicy.enabled=false",
        "uninstallHook.enabled=false",
    ),
    "named namespaces": ("watchNamespaces={team-a,team-b}",),
    "nothing kept": ("mlflow.persistence.enabled=false", "s3.persistence.enabled=false"),
    "a claim, a database and Secrets of one's own": (
        "mlflow.persistence.existingClaim=runs",
        "mlflow.backendStore.existingSecret=database",
        "mlflow.existingSecret=mlflow",
        "s3.existingSecret=s3-root",
        "image.pullSecrets={registry}",
        "operator.nodeSelector.pool=system",
        "operator.tolerations[0].operator=Exists",
    ),
}


@pytest.mark.parametrize("settings", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_value_set_passes_strict_lint_and_renders(settings, lint, render) -> None:
    assert lint(*settings) == ""
    assert "headrace-operator" in render(*settings).of("Deployment")


def test_no_two_objects_of_a_rendering_have_one_name(render) -> None:
    objects = render("watchNamespaces={team-a,team-b}")
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert sorted(names, key=str) == sorted(set(names), key=str)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mlflow.enabld=false", "enabld is not allowed"),
        ("watchNamespace={a}", "watchNamespace is not allowed"),
        ("s3.persistence.size=10Gb", "s3.persistence.size"),
        ("image.pullPolicy=never", "image.pullPolicy must be one of"),
        ("watchNamespaces={Team_A}", "watchNamespaces.0"),
        ("gateway.throttle=fast", "gateway.throttle"),
        ("mlflow.publicUrl=mlflow.example.com", "mlflow.publicUrl"),
        ("operator.replicas=two", "operator.replicas"),
        ("mlflow.url=https://admin:pass@mlflow.example.com", "mlflow.url"),
        ("mlflow.url=https://admin:pa/ss@mlflow.example.com", "mlflow.url"),
        ("mlflow.publicUrl=https://admin@mlflow.example.com", "mlflow.publicUrl"),
        ("trainer.packageIndex.url=https://reader:secret@pypi.example.com/simple", "trainer.packageIndex.url"),
        ("trainer.packageIndex.url=pypi.example.com", "trainer.packageIndex.url"),
        ("s3.endpoint=https://key:secret@s3.example.com:9000", "s3.endpoint"),
    ],
)
def test_typing_mistake_is_refused_and_named(setting, words, refusal) -> None:
    assert words in refusal(setting)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("servingRuntimes.mine.ports.http=http", "ports.http"),
        ("servingRuntimes.onnxruntime.prots.http=8080", "prots"),
        ("servingRuntimes.Mine.path=/", "Mine"),
        ("servingRuntimes.onnxruntime.drainSeconds=-1", "drainSeconds"),
    ],
)
def test_a_mistake_in_an_entry_of_a_server_is_refused_and_named(setting, words, refusal) -> None:
    assert words in refusal(setting)


@pytest.mark.parametrize(
    "url", ["http://mlflow:5000", "https://mlflow.example.com/a/path@v1", "http://[fd00::1]:5000", "http://10.0.0.1/x"]
)
def test_address_without_credentials_is_taken(url, render) -> None:
    objects = render("mlflow.enabled=false", f"mlflow.url={url}")
    assert objects.env("headrace-operator")["HEADRACE_MLFLOW_URL"] == url


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("mlflow.url=https://mlflow.example.com", "set mlflow.enabled=false"),
        ("s3.endpoint=https://s3.example.com", "set s3.enabled=false"),
    ],
)
def test_external_address_beside_the_built_in_server_is_refused_with_advice(setting, advice, refusal) -> None:
    assert advice in refusal(setting)


@pytest.mark.parametrize(
    "settings",
    [
        ("servingRuntimes=null",),
        tuple(f"servingRuntimes.{name}=null" for name in ("onnxruntime", "tensorflow-serving", "text")),
    ],
    ids=["absent, as the values of an older release have it", "empty"],
)
def test_a_table_without_a_server_is_refused_with_advice(settings, refusal) -> None:
    assert "--reset-then-reuse-values" in refusal(*settings)


def test_old_kubernetes_is_refused(refusal) -> None:
    assert "requires kubeVersion" in refusal(kubernetes="1.32.9")


def test_schema_knows_exactly_the_values_that_have_a_default(chart) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())

    def paths(value, prefix=""):
        if not isinstance(value, dict) or not value:
            return {prefix}
        return {path for key, item in value.items() for path in paths(item, f"{prefix}.{key}")}

    def known(node, prefix=""):
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        if "properties" not in node or prefix.endswith(".resources"):
            return {prefix}
        return {path for key, item in node["properties"].items() for path in known(item, f"{prefix}.{key}")}

    defaults = {
        path.split(".resources.")[0] + (".resources" if ".resources." in path else "") for path in paths(values)
    }
    # The label is a key of a free map; `global` is Helm's own, for parents of the chart.
    maps = (".networkPolicy.namespaceLabels", ".networkPolicy.serving.namespaceLabels", ".servingRuntimes")
    free = {path for path in defaults if path.startswith(maps)}
    assert (defaults - free) | {*maps, ".global"} == known(schema)

"""The servers of an installation as data: what an administrator may write, what is rendered of it, and what is said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from headrace.api.modelservice import CheckMetric, ModelServiceStatus
from headrace.rollout.adapter import PodMetrics
from headrace.rollout.counters import Counters, parse_metrics
from headrace.serving.network import render_network_policy
from headrace.serving.observed import Observed, metrics_in, read_pod
from headrace.serving.plan import plan
from headrace.serving.revision import render_service, render_template, revision_name
from headrace.serving.runtimes.condition import counters_fact
from headrace.serving.runtimes.table import RuntimesError, parse_runtimes
from headrace.serving.status import finish_status
from runtime_builders import PLAIN, runtimes
from serving_builders import NOW, ROUTE, artifact, model_service
from training_builders import SETTINGS

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "serve-with-your-own-server.md"
EXAMPLES = {
    name: entry
    for block in re.findall(r"```yaml\n(servingRuntimes:.*?)```", PAGE.read_text(), re.DOTALL)
    for name, entry in yaml.safe_load(block)["servingRuntimes"].items()
}
(TRITON_METRICS,) = [
    yaml.safe_load(block)["metrics"]
    for block in re.findall(r"```yaml\n( +metrics:.*?)```", PAGE.read_text(), re.DOTALL)
]
ADDED = replace(SETTINGS, runtimes=runtimes(plain=PLAIN, **EXAMPLES))


def rendered(runtime, settings=ADDED, **spec):
    return render_template(model_service(runtime=runtime, **spec), "text-1", artifact(7), settings)


def server(runtime, **spec):
    (found,) = rendered(runtime, **spec)["spec"]["containers"]
    return found


def load_request(template):
    return json.loads(template["spec"]["initContainers"][0]["env"][0]["value"])


# --- what is rendered -------------------------------------------------------------------------------------------------


def test_the_pages_triton_gets_a_repository_of_one_model_with_one_version():
    template = rendered({"name": "triton"})

    (found,) = template["spec"]["containers"]
    assert found["command"] == ["tritonserver"]
    assert "--model-repository=/models/current" in found["args"]
    assert load_request(template)["layout"] == {"ONNX": "text/7"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/v2/models/text/ready", "port": "http"}
    assert [port["containerPort"] for port in found["ports"]] == [8000, 8001, 8002]
    assert found["startupProbe"]["failureThreshold"] == 180
    assert "initialDelaySeconds" not in found["livenessProbe"]


def test_a_format_that_is_named_is_the_one_that_is_loaded():
    load = load_request(rendered({"name": "triton", "format": "TensorFlow"}))

    assert (load["formats"], load["layout"]) == (["TensorFlow"], {"TensorFlow": "text/7/model.savedmodel"})


def test_the_pages_vllm_serves_the_folder_under_the_services_name():
    template = rendered({"name": "vllm"})

    (found,) = template["spec"]["containers"]
    assert found["command"] == ["vllm", "serve"]
    assert found["args"] == ["/models/current/model", "--served-model-name=text", "--port=8000"]
    assert {"name": "USER", "value": "vllm"} in found["env"]
    assert found["startupProbe"]["failureThreshold"] == 180
    assert template["spec"]["terminationGracePeriodSeconds"] == 8 + 0 + 5
    assert load_request(template)["formats"] == ["HuggingFace"]


def test_the_pages_custom_server_is_the_services_own_container():
    runtime = {"name": "custom", "image": "example.com/mine:1", "args": ["--name=$(MODEL_NAME)"]}

    found = server(runtime | {"env": [{"name": "MODEL", "value": "$(MODEL_DIR)/onnx/model.onnx"}]})

    assert (found["image"], found["args"]) == ("example.com/mine:1", ["--name=text"])
    assert found["env"] == [{"name": "MODEL", "value": "/models/current/onnx/model.onnx"}]


def test_nothing_but_the_four_names_is_replaced_and_the_kubelet_finds_nothing_to_expand():
    found = server({"name": "plain", "args": ["$(AWS_SECRET_ACCESS_KEY) $(VERSION) $$(DIGEST) $(HOME"]})

    assert found["args"] == [f"$$(AWS_SECRET_ACCESS_KEY) 7 $${artifact(7).digest} $$(HOME"]


def test_the_services_arguments_come_last_and_its_variables_go_first():
    entry = PLAIN | {"args": ["--a"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    settings = replace(SETTINGS, runtimes=runtimes(mine=entry))
    runtime = {"name": "mine", "args": ["--b"], "env": [{"name": "A", "value": "3"}]}

    (found,) = rendered(runtime, settings)["spec"]["containers"]

    assert found["args"] == ["--a", "--b"]
    assert found["env"] == [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]


@pytest.mark.parametrize("name", sorted(ADDED.runtimes))
def test_what_every_server_has_is_no_entrys(name):
    """The loader, security, drain, placement, and who may reach it."""
    runtime, storage = {"name": name, "image": "i:1"}, {"secretRef": {"name": "headrace-storage-read"}}
    mine = {"spec": {"nodeSelector": {"pool": "serving"}, "containers": [{"name": "server", "tty": True}]}}
    service = model_service(runtime=runtime)
    before = rendered({"name": "onnxruntime"}, storage=storage, podTemplate=mine)["spec"]

    template = rendered(runtime, storage=storage, podTemplate=mine)

    pod = template["spec"]
    same = ("securityContext", "automountServiceAccountToken", "nodeSelector", "enableServiceLinks")
    assert {field: pod[field] for field in same} == {field: before[field] for field in same}
    assert pod["initContainers"][0]["envFrom"] == before["initContainers"][0]["envFrom"]
    (found,), (ours,) = pod["containers"], before["containers"]
    for field in ("securityContext", "lifecycle", "tty", "terminationMessagePolicy", "imagePullPolicy"):
        assert found[field] == ours[field]
    ports = render_service(service, "text", "text-1", template)["spec"]["ports"]
    assert [port["port"] for port in ports] == [8080, 8500][: len(ports)]
    assert render_network_policy(service, ADDED) == render_network_policy(model_service(), ADDED)


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_what_a_service_asks_of_its_server_names_another_revision_and_nothing_else_does():
    plain = revision_name(model_service(runtime={"name": "plain"}), artifact(1))
    asked = [
        {"image": "i:2"},
        {"args": ["--a"]},
        {"env": [{"name": "A", "value": "1"}]},
        {"format": "ONNX"},
        {"batching": {"maxSize": 8}},
    ]
    names = {revision_name(model_service(runtime={"name": "plain"} | one), artifact(1)) for one in asked}

    assert len(names | {plain}) == 6
    assert revision_name(model_service(runtime={"name": "plain", "args": [], "env": []}), artifact(1)) == plain


def test_batching_is_told_by_the_arguments_that_the_table_has_for_it():
    runtime = {"name": "onnxruntime", "args": ["--max-wait=1"], "batching": {"maxSize": 32, "maxDelay": "2ms"}}

    args = server(runtime)["args"]

    assert args[-3:] == ["--max-batch=32", "--max-delay=0.002", "--max-wait=1"]


PROBLEMS = {
    "no such runtime": ({"name": "trtion"}, "RuntimeNotFound", "there is custom, onnxruntime, plain, tensorflow-s"),
    "no such format": (
        {"name": "onnxruntime", "format": "TensorFlow"},
        "FormatNotServed",
        "it serves ONNX: correct spec.runtime.format, or spec.runtime.name: tensorflow-serving, triton",
    ),
    "a format of nobody": ({"name": "plain", "format": "Keras"}, "FormatNotServed", "correct spec.runtime.format"),
    "no way to say how many rows": (
        {"name": "tensorflow-serving", "batching": {"maxSize": 8}},
        "BatchingNotServed",
        "cannot be told spec.runtime.batching.maxSize: leave it out",
    ),
    "no way to say how long to wait": (
        {"name": "plain", "batching": {"maxDelay": "2ms"}},
        "BatchingNotServed",
        "set batching.maxDelay of its entry in servingRuntimes",
    ),
    "no image": ({"name": "custom"}, "RuntimeImageMissing", "set spec.runtime.image"),
}


@pytest.mark.parametrize(("runtime", "reason", "words"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_cannot_be_rendered_is_told_at_once_with_what_there_is(runtime, reason, words):
    planned = plan(model_service(runtime=runtime), Observed(artifact(1), None), NOW, ADDED)

    assert not [kind for kind, _ in planned.creates]
    assert planned.status["reason"] == reason
    assert words in planned.status["message"]
    resolved = next(c for c in planned.status["conditions"] if c["type"] == "ModelResolved")
    assert (resolved["status"], resolved["reason"]) == ("False", reason)
    assert [event.reason for event in planned.events] == [reason]


def test_what_serves_goes_on_when_its_entry_is_taken_away():
    stable = {"revision": "text-1", "uri": artifact(1).uri, "digest": artifact(1).digest, "replicas": 2}
    service = model_service({"phase": "Stable", "stable": stable}, runtime={"name": "gone"}, route=None, rollout={})
    template = rendered({"name": "plain"})
    for templates in ({"text-1": template}, {}):  # also where the record of its template is lost
        planned = plan(service, Observed(artifact(1), None, templates=templates), NOW, ADDED)

        assert planned.deletes == planned.creates == ()
        assert (planned.status["phase"], planned.status["reason"]) == ("Stable", "RuntimeNotFound")


# --- what an administrator writes -------------------------------------------------------------------------------------

COUNTER = {"name": "requests_total"}
MISTAKES = {
    "a typing mistake": ({"prots": {}}, "servingRuntimes.mine.prots"),
    "no ports": ({"ports": {}}, "servingRuntimes.mine.ports.http: Field required"),
    "a number as an argument": ({"args": [8080]}, "servingRuntimes.mine.args.0"),
    "a probe of nothing": ({"probes": {"readiness": {}}}, "exactly one of httpGet, tcpSocket and grpc"),
    "a probe of no port": ({"probes": {"readiness": {"grpc": {}}}}, "asks port grpc, which is not in ports"),
    "metrics at no port": ({"metrics": {"counters": [COUNTER]}}, "metrics.port is metrics, which is not in ports"),
    "a port twice": ({"ports": {"http": 1, "metrics": 1}}, "ports has a number twice"),
    "a file with a volume's name": (
        {"files": [{"name": "models", "path": "/etc/mine/a", "text": ""}]},
        "files.0.name: Value error, models is the name of a volume",
    ),
    "files that no annotations hold": (
        {"files": [{"name": f"f{n}", "path": f"/etc/f{n}/a", "text": "x" * 60_000} for n in range(4)]},
        "files has more than 200 KiB",
    ),
    "no formats": ({"formats": []}, "servingRuntimes.mine.formats"),
    "a format twice": ({"formats": [{"name": "ONNX"}] * 2}, "formats has a name twice"),
    "a folder outside": ({"formats": [{"name": "ONNX", "directory": "../etc"}]}, "formats.0.directory"),
    "a series twice": (
        {"metrics": {"port": "http", "counters": [COUNTER, COUNTER]}},
        "counters has a series twice",
    ),
}


@pytest.mark.parametrize(("changed", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_an_entry_is_named_with_its_place(changed, words):
    table = parse_runtimes(json.dumps({"mine": PLAIN | changed, "other": PLAIN}))

    assert set(table.runtimes) == {"other"}
    assert words in table.refused["mine"]


@pytest.mark.parametrize("text", ["", "[]", "\0", "1"])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(RuntimesError):
        parse_runtimes(text)


@pytest.mark.parametrize("entries", [{"Mine": PLAIN}, {"mine": 1}, {"mine": None}, {"mine": []}])
def test_what_is_no_entry_is_set_aside(entries):
    table = parse_runtimes(json.dumps(entries))

    assert not table.runtimes
    assert set(table.refused) == set(entries)


def test_a_service_says_why_its_server_cannot_be_used():
    table = parse_runtimes(json.dumps({"mine": PLAIN | {"probes": {"readiness": {"grpc": {}}}}}))
    settings = replace(ADDED, refused_runtimes=table.refused)

    planned = plan(model_service(runtime={"name": "mine"}), Observed(artifact(1), None), NOW, settings)

    assert planned.status["reason"] == "RuntimeInvalid"
    assert "servingRuntimes.mine: Value error, readinessProbe asks port grpc" in planned.status["message"]


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "/usr/a.conf", "/usr/lib/python3/a.conf", "/bin/a", "/lib/x/a", "/proc/a", "/sys/a", "/dev/a"),
        *("/models/a", "/models/current/a", "/tmp/a", "/tmp/x/a", "/var/a", "/var/run/a", "/var/run/secrets/x/a"),
        *("/etc/x/../a", "/etc/./a"),
    ],
)
def test_a_file_hides_nothing_that_the_pod_needs(path):
    entry = PLAIN | {"files": [{"name": "conf", "path": path, "text": ""}]}

    assert "files.0.path" in parse_runtimes(json.dumps({"mine": entry})).refused["mine"]


@pytest.mark.parametrize("path", ["/etc/mine/a.conf", "/etc/mine/below/a.conf", "/opt/mine/a.conf", "/var/mine/a"])
def test_a_file_may_have_a_folder_of_its_own(path):
    entry = PLAIN | {"files": [{"name": "conf", "path": path, "text": ""}]}

    assert not parse_runtimes(json.dumps({"mine": entry})).refused


# --- counters ---------------------------------------------------------------------------------------------------------

TRITON = """\
nv_inference_request_success{model="text",version="7"} 90
nv_inference_request_failure{model="text",reason="CANCELED",version="7"} 3
nv_inference_request_failure{model="text",reason="BACKEND",version="7"} 4
nv_inference_count{model="text",version="7"} 900
"""
VLLM = """\
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 20.0
http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 3.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 2.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="text"} 5.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="text"} 20.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="text"} 20.0
"""


@pytest.mark.parametrize(
    ("metrics", "text", "counted"),
    [
        (TRITON_METRICS, TRITON, Counters(94, 4, 3)),
        (EXAMPLES["vllm"]["metrics"], VLLM, Counters(22, 2, 3, ((0.3, 5), (float("inf"), 20)))),
    ],
)
def test_the_pages_servers_are_counted(metrics, text, counted):
    """Series as their projects' pages show them: Triton's docs/user_guide/metrics.md, vLLM's docs/design/metrics.md."""
    assert parse_metrics(text, PodMetrics.model_validate(metrics)) == counted


@pytest.mark.parametrize(
    "line",
    [
        'http_requests_total{status="2xx"} 7 1700000000000',
        'http_requests_total{ status="2xx" , method="GET" }  7',
        'http_requests_total{handler="/v1/responses/{response_id}",status="2xx"} 7.0',
        r'http_requests_total{handler="a \"quoted\", status=\"5xx\" \\",status="2xx"} 7',
    ],
    ids=["a timestamp", "spaces", "braces", "escaped quotes"],
)
def test_every_line_of_the_format_is_counted(line):
    """Prometheus' text format: labels' values may have any character, and a time may stand behind the count."""
    metrics = ADDED.runtimes["vllm"].metrics
    assert metrics is not None
    assert parse_metrics(line, metrics) == Counters(7)


@pytest.mark.parametrize("name", sorted(ADDED.runtimes))
def test_a_pod_says_where_its_counters_are_or_that_it_tells_none(name):
    template = rendered({"name": name, "image": "i:1"})
    metrics = ADDED.runtimes[name].metrics

    assert metrics_in(template, ADDED.runtimes) == metrics
    annotations = template["metadata"]["annotations"]
    assert ("prometheus.io/port" in annotations) is (metrics is not None)
    if metrics is not None:
        place = (ADDED.runtimes[name].ports.by_name()[metrics.port], metrics.path)
        assert read_pod({"metadata": {"name": "p", **template["metadata"]}}).metrics == place


COUNTING = PLAIN | {"metrics": {"port": "http", "counters": [COUNTER]}}
COUNTED = replace(
    ADDED,
    runtimes=runtimes(plain=PLAIN, counting=COUNTING),
    gateway_metrics_url="http://gateway:9100/metrics",
)
NO_GATEWAY = replace(COUNTED, gateway_metrics_url="")


def without(name):
    return replace(COUNTED, runtimes={key: entry for key, entry in COUNTED.runtimes.items() if key != name})


# What is stable, what spec.runtime has, the settings and the route; the reason, and words of the message.
JUDGED_BY = {
    "pods": ("onnxruntime", "onnxruntime", COUNTED, ROUTE, None, ""),
    "the next canary's pods tell nothing": (None, "plain", COUNTED, ROUTE, "GatewayOnly", "runtime plain has no m"),
    "the stable pods tell nothing": ("plain", "onnxruntime", COUNTED, ROUTE, "GatewayOnly", "never pass, leave them"),
    "the canary's pods tell nothing": ("onnxruntime", "plain", COUNTED, ROUTE, "GatewayOnly", "leave them out: fast"),
    "no latencies": ("onnxruntime", "counting", COUNTED, ROUTE, "NoLatencies", "runtime counting tells no latencies"),
    "no latencies of the stable one": (
        "counting",
        "onnxruntime",
        COUNTED,
        ROUTE,
        "NoLatencies",
        "leave them out: fast",
    ),
    "nobody, for the gateway is another one": (None, "plain", NO_GATEWAY, ROUTE, "NotCounted", "not the release's own"),
    "nobody, for there is no route": (None, "plain", COUNTED, None, "NotCounted", "without spec.route"),
    "an entry that is gone": (
        "onnxruntime",
        "tensorflow-serving",
        without("onnxruntime"),
        ROUTE,
        "GatewayOnly",
        "text-1",
    ),
}


@pytest.mark.parametrize("is_rolling", [True, False])
@pytest.mark.parametrize(("stable", "asked", "settings", "route", "reason", "words"), JUDGED_BY.values(), ids=JUDGED_BY)
def test_by_what_a_canary_is_judged_is_told(stable, asked, settings, route, reason, words, is_rolling):
    check = {"name": "fast", "metric": CheckMetric.LATENCY_P50.value, "maxRatioToStable": "2"}
    service = model_service(runtime={"name": asked}, rollout={"analysis": {"checks": [check]}}, route=route)
    named = {"stable": ("text-1", stable), "canary": ("text-2", asked if is_rolling else None)}
    found = {role: (revision, runtime) for role, (revision, runtime) in named.items() if runtime is not None}
    status = ModelServiceStatus.model_validate({role: {"revision": revision} for role, (revision, _) in found.items()})
    templates = {revision: rendered({"name": runtime}, COUNTED) for revision, runtime in found.values()}

    fact = counters_fact(service, status, Observed(artifact(1), None, templates=templates), settings)

    assert (fact[1] if fact is not None else None) == reason
    assert words in (fact[2] if fact is not None else "")


def test_that_only_the_gateway_counts_is_a_condition():
    planned = plan(model_service(runtime={"name": "plain"}), Observed(artifact(1), None), NOW, COUNTED)

    told = next(condition for condition in planned.status["conditions"] if condition["type"] == "PodCounters")

    assert (told["status"], told["reason"]) == ("False", "GatewayOnly")


def changed_entry(name, **changed):
    table = {key: entry.model_dump(mode="json", by_alias=True, exclude_none=True) for key, entry in runtimes().items()}
    return parse_runtimes(json.dumps(table | {name: table[name] | changed})).runtimes


@pytest.mark.parametrize("name", ["onnxruntime", "tensorflow-serving"])
def test_pods_of_an_entry_that_was_changed_are_not_read_as_another_servers(name):
    template = rendered({"name": name}, SETTINGS)
    moved = {"metrics": runtimes()[name].metrics.model_dump(mode="json", exclude_none=True) | {"path": "/elsewhere"}}

    assert metrics_in(template, runtimes()) == runtimes()[name].metrics
    assert metrics_in(template, changed_entry(name, **moved)) is None
    assert metrics_in(template, {key: entry for key, entry in runtimes().items() if key != name}) is None


@pytest.mark.parametrize(
    ("stable", "path"), [("plain", ""), ("onnxruntime", "/v2/models/text"), (None, "/v1/models/text")]
)
def test_the_url_is_that_of_the_server_that_answers(stable, path):
    service = model_service({"stable": {"revision": "text-1"}}, runtime={"name": "tensorflow-serving"})
    templates = {"text-1": rendered({"name": stable}, COUNTED)} if stable else {}

    status = finish_status(service, service.status, Observed(artifact(1), None, templates=templates), NOW, COUNTED)

    assert status["url"].removeprefix("http://text.example.com/team-a/text") == path


def test_where_pods_tell_nothing_the_gateways_counters_stand_for_them():
    observed = Observed(
        artifact(1),
        None,
        counters={"pod": Counters(5)},
        at_gateway={"text-1": {"stable-gateway-a": Counters(90)}, "text-2": {"gateway-a": Counters(10, 1)}},
    )

    assert observed.counters_of("text-1") == {"stable-gateway-a": Counters(90)}
    assert observed.counters_of("text-2") == {"gateway-a": Counters(10, 1)}

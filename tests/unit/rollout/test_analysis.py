"""How a canary is judged by its pods' counters: windows, quantiles, verdicts, rejections."""

import math
from bisect import bisect_left
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.modelservice import Baseline, Check, CheckMetric, Verdict
from headrace.rollout.analysis import (
    INFINITY,
    Window,
    baseline_of,
    counters_of,
    judge,
    quantile,
    window,
    with_unseen,
)
from headrace.rollout.counters import Counters, parse_gateway_metrics, parse_metrics
from headrace.rollout.traefik import backend_pattern
from headrace_onnxruntime.metrics import DURATION_BOUNDS, Metrics
from headrace_text.metrics import Metrics as TextMetrics
from runtime_builders import runtimes

NOTHING = Window()
ALL_BOUNDS = (*DURATION_BOUNDS, INFINITY)


def histogram(samples, bounds=ALL_BOUNDS):
    """The cumulative histogram of latencies in seconds, as the server counts it."""
    return {bound: sum(sample <= bound for sample in samples) for bound in bounds}


def success(least="0.99", requests=50):
    return Check(name="errors", metric=CheckMetric.SUCCESS_RATE, min=Decimal(least), min_requests=requests)


def latency(ratio="1.5", requests=200, metric=CheckMetric.LATENCY_P95):
    return Check(name="latency", metric=metric, max_ratio_to_stable=Decimal(ratio), min_requests=requests)


def answered(requests, errors=0, rejections=0, seconds=()):
    return Window(requests, errors, rejections, histogram(seconds))


def verdict(check, canary, stable=NOTHING):
    return judge(check, canary, stable, None).verdict


# --- windows ----------------------------------------------------------------------------------------------------------

counters = st.builds(
    lambda ok, nonfinite, errors, rejections, shares: Counters(
        ok + nonfinite + errors,
        errors,
        rejections,
        tuple(zip((0.1, 1.0, INFINITY), sorted(shares), strict=True)),
        nonfinite,
    ),
    *(st.integers(0, 10**6),) * 4,
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
)


@given(counters, counters)
def test_a_window_is_what_was_counted_since_the_baseline(before, since):
    """Two histories one after the other: the window holds the second."""
    now = Counters(
        before.requests + since.requests,
        before.errors + since.errors,
        before.rejections + since.rejections,
        tuple((bound, a + b) for (bound, a), (_, b) in zip(before.buckets, since.buckets, strict=True)),
        before.nonfinite + since.nonfinite,
    )
    seen = window({"pod": now}, [baseline_of("pod", before)])

    assert (seen.requests, seen.errors, seen.rejections) == (since.requests, since.errors, since.rejections)
    assert seen.nonfinite == since.nonfinite
    assert dict(seen.buckets) == dict(since.buckets)


@given(counters, counters)
def test_no_counter_of_a_window_is_ever_negative_whatever_restarted(before, now):
    seen = window({"pod": now}, [baseline_of("pod", before)])

    assert min(seen.requests, seen.errors, seen.rejections, seen.nonfinite, *seen.buckets.values()) >= 0
    assert seen.errors <= seen.requests


def test_a_pod_that_restarted_counts_from_zero_though_it_has_more_requests_than_before():
    before = Counters(100, 90, 0, ((1.0, 10), (INFINITY, 10)))
    now = Counters(120, 1, 0, ((1.0, 119), (INFINITY, 119)))

    seen = window({"pod": now}, [baseline_of("pod", before)])

    assert (seen.requests, seen.errors, seen.buckets[INFINITY]) == (120, 1, 119)


def test_the_history_of_a_pod_without_a_baseline_is_not_the_windows():
    """Its metrics could not be read when the step began: what it answered in days before is no evidence of now."""
    assert window({"pod": Counters(10**6, 10**5)}, []) == NOTHING


def test_a_pod_that_is_gone_counts_nothing():
    assert window({}, [Baseline(pod="gone", requests=5)]) == NOTHING


@given(counters)
def test_a_baseline_keeps_the_counters_exactly(kept):
    assert counters_of(baseline_of("pod", kept)) == kept


def test_the_servers_whole_histogram_fits_into_status_after_a_thousand_million_requests():
    full = Counters(10**9 - 1, 0, 0, tuple((bound, 10**9 - 1) for bound in ALL_BOUNDS))

    assert counters_of(baseline_of("pod", full)) == full


def test_a_histogram_too_long_for_status_is_left_out_and_gives_no_latencies():
    bounds = [*(n / 7 for n in range(1, 200)), INFINITY]
    many = Counters(1000, 0, 0, tuple((bound, 500) for bound in bounds))
    later = Counters(2000, 0, 0, tuple((bound, 1500) for bound in bounds))

    seen = window({"pod": later}, [baseline_of("pod", many)])

    assert (seen.requests, seen.latencies) == (1000, 0)
    assert verdict(latency(), seen, seen) is Verdict.NO_DATA


# --- quantiles --------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.0003, 50.0), min_size=1, max_size=300),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_a_quantile_lies_in_the_bucket_of_the_sorted_samples_quantile(samples, q):
    exact = sorted(samples)[math.ceil(q * len(samples)) - 1]
    bucket = bisect_left(ALL_BOUNDS, exact)
    low, high = ALL_BOUNDS[bucket - 1] if bucket else 0.0, ALL_BOUNDS[bucket]

    found = quantile(histogram(samples), q)

    assert found is not None
    assert low <= found <= high * (1 + 1e-9)


def test_a_quantile_beyond_the_last_bound_is_that_bound():
    assert quantile(histogram([600.0] * 10), 0.95) == DURATION_BOUNDS[-1]


@pytest.mark.parametrize("nothing", [{}, {1.0: 0, INFINITY: 0}])
def test_there_is_no_quantile_of_nothing(nothing):
    assert quantile(nothing, 0.5) is None


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (answered(0), Verdict.NO_DATA),
        (answered(49), Verdict.WAITING),
        (answered(49, errors=49), Verdict.WAITING),
        (answered(50), Verdict.PASS),
        (answered(100, errors=1), Verdict.PASS),
        (answered(100, errors=2), Verdict.FAIL),
    ],
)
def test_a_success_rate_is_judged_from_min_requests_on(canary, expected):
    assert verdict(success("0.99"), canary) is expected


@given(st.integers(1, 100))
def test_a_rate_exactly_at_the_bound_passes_and_one_error_more_fails(percent):
    least = format(Decimal(percent) / 100, "f")

    assert verdict(success(least), answered(100, errors=100 - percent)) is Verdict.PASS
    assert verdict(success(least), answered(100, errors=101 - percent)) is Verdict.FAIL


@pytest.mark.parametrize(
    ("canary", "stable", "expected"),
    [
        ([0.010] * 200, [0.010] * 200, Verdict.PASS),
        ([0.012] * 200, [0.010] * 200, Verdict.PASS),
        ([0.030] * 200, [0.010] * 200, Verdict.FAIL),
        ([0.010] * 195 + [1.0] * 5, [0.010] * 200, Verdict.PASS),
        ([0.010] * 180 + [1.0] * 20, [0.010] * 200, Verdict.FAIL),
        ([0.010] * 199, [0.010] * 200, Verdict.WAITING),
        ([0.030] * 200, [0.010] * 199, Verdict.WAITING),
        ([0.030] * 200, [], Verdict.NO_DATA),
    ],
)
def test_a_latency_is_judged_beside_the_stable_revisions_when_both_have_the_samples(canary, stable, expected):
    ours, theirs = (answered(len(s), seconds=s) for s in (canary, stable))

    assert verdict(latency("1.5"), ours, theirs) is expected


def test_errors_are_no_samples_of_a_latency():
    """500 requests, of which one was answered: one latency is no p95."""
    canary = answered(500, errors=499, seconds=[0.001])

    assert verdict(latency(), canary, answered(500, seconds=[0.01] * 500)) is Verdict.WAITING


def test_failures_add_up_over_looks_and_a_pass_takes_none_back():
    bad, good = answered(100, errors=50), answered(100)
    status = None
    for seen in (bad, good, bad):
        status = judge(success(), seen, Window(), status)

    assert status.failures == 2


# --- rejections -------------------------------------------------------------------------------------------------------


def test_a_canary_that_rejects_what_stable_accepts_fails():
    judged = judge(success(), answered(0, rejections=100), answered(900), None)

    assert judged.verdict is Verdict.FAIL
    assert (judged.samples, judged.value) == (100, "0")
    assert "rejected beyond the stable revision's share" in judged.message


def test_a_client_that_sends_garbage_to_both_turns_no_canary_back():
    assert verdict(success(), answered(80, rejections=20), answered(720, rejections=180)) is Verdict.PASS


def test_garbage_to_both_hides_no_server_errors():
    """5 of 80 requests that could be answered were not; 920 rejected ones are no successes."""
    assert verdict(success(), answered(80, errors=5, rejections=920), answered(80, rejections=920)) is Verdict.FAIL


def test_a_canary_that_rejects_more_of_the_same_garbage_fails_for_what_is_beyond_stables_share():
    judged = judge(success("0.95"), answered(60, rejections=40), answered(810, rejections=90), None)

    assert judged.verdict is Verdict.FAIL
    assert judged.samples == 60 + 30


def test_rejections_are_no_verdict_before_stable_has_requests_to_compare_with():
    assert verdict(success(), answered(100, rejections=100), answered(10)) is Verdict.WAITING
    assert verdict(success(), answered(0, rejections=100), Window()) is Verdict.NO_DATA


def test_server_errors_are_a_verdict_whatever_was_rejected():
    assert verdict(success(), answered(100, errors=50, rejections=1), Window()) is Verdict.FAIL


def test_refusals_that_chance_may_explain_are_too_few_requests_and_not_a_success_rate_of_1():
    judged = judge(success(requests=20), answered(20, rejections=9), answered(22), None)

    assert (judged.verdict, judged.value, judged.samples) == (Verdict.WAITING, None, 29)
    assert "9 of 29 requests were rejected, of the stable revision's 0 of 22" in judged.message


def test_one_refusal_is_no_verdict_and_with_more_requests_a_pass():
    assert verdict(success(requests=20), answered(29, rejections=1), answered(100)) is Verdict.WAITING
    assert verdict(success(requests=20), answered(199, rejections=1), answered(800)) is Verdict.PASS


def test_one_refusal_of_few_requests_beside_thousands_is_chance():
    """The canary's 2 % against stable's 0.04 %: one of three that came at all."""
    assert verdict(success(), answered(49, rejections=1), answered(4998, rejections=2)) is not Verdict.FAIL


def test_server_errors_fail_while_it_is_open_whether_refusals_are_chance():
    assert verdict(success(requests=20), answered(20, errors=5, rejections=2), answered(22)) is Verdict.FAIL


# --- answers that are no numbers --------------------------------------------------------------------------------------


def computed(requests, nonfinite=0):
    return Window(requests, nonfinite=nonfinite)


def test_a_canary_whose_every_answer_is_not_a_number_fails():
    judged = judge(success(requests=20), computed(64, nonfinite=64), computed(256), None)

    assert (judged.verdict, judged.value) == (Verdict.FAIL, "0")
    assert "64 answers had a NaN or an infinity in them beyond the stable revision's share" in judged.message


@pytest.mark.parametrize("share", [0.1, 1])
def test_a_canary_that_gives_no_number_as_often_as_stable_passes(share):
    ours, theirs = (computed(n, nonfinite=round(n * share)) for n in (200, 800))

    assert verdict(success(), ours, theirs) is Verdict.PASS


def test_some_answers_that_are_no_numbers_are_too_few_requests_first():
    judged = judge(success(requests=20), computed(40, nonfinite=4), computed(40), None)

    assert judged.verdict is Verdict.WAITING
    assert "4 of 40 answers had a NaN or an infinity in them" in judged.message


def test_answers_that_are_no_numbers_are_no_verdict_before_stable_has_requests_to_compare_with():
    assert verdict(success(), computed(100, nonfinite=100), computed(10)) is Verdict.WAITING


OURS, TENSORFLOWS, TEXTS = (runtimes()[name].metrics for name in ("onnxruntime", "tensorflow-serving", "text"))


# --- what the pods say ------------------------------------------------------------------------------------------------


def test_the_servers_own_metrics_are_read():
    metrics = Metrics({"name": "text"})
    for code, count in ((200, 7), (500, 2), (503, 1), (400, 4)):
        for _ in range(count):
            metrics.count_request(code)
    metrics.request_seconds.observe(0.010)
    metrics.nonfinite_outputs = 6

    read = parse_metrics(metrics.render(), OURS)

    assert (read.requests, read.errors, read.rejections, read.nonfinite) == (10, 3, 4, 6)
    assert [bound for bound, _ in read.buckets] == list(ALL_BOUNDS)
    assert dict(read.buckets)[INFINITY] == 1


def test_the_latency_of_text_is_the_time_to_its_first_token():
    metrics = TextMetrics({"name": "text"})
    for code, count in ((200, 7), (500, 2), (504, 1), (429, 4)):
        for _ in range(count):
            metrics.count_request(code)
    metrics.first_token_seconds.observe(0.010)
    metrics.request_seconds.observe(30)
    metrics.nonfinite_outputs = 2

    read = parse_metrics(metrics.render(), TEXTS)

    assert (read.requests, read.errors, read.rejections, read.nonfinite) == (10, 3, 4, 2)
    assert (dict(read.buckets)[INFINITY], read.buckets[-2][1]) == (1, 1)


TENSORFLOW_SERVING = """\
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="text",status="OK"} 1007
:tensorflow:serving:request_count{model_name="text",status="INVALID_ARGUMENT"} 4
:tensorflow:serving:request_count{model_name="text",status="INTERNAL"} 2
:tensorflow:serving:request_latency_bucket{model_name="text",API="predict",entrypoint="REST",le="1000"} 1
:tensorflow:serving:request_latency_bucket{model_name="text",API="predict",entrypoint="REST",le="+Inf"} 3
:tensorflow:serving:request_latency_count{model_name="text",API="predict",entrypoint="REST"} 3
:tensorflow:serving:request_latency_bucket{model_name="text",API="Predict",entrypoint="GRPC",le="1000"} 2
:tensorflow:serving:request_latency_bucket{model_name="text",API="Predict",entrypoint="GRPC",le="+Inf"} 4
:tensorflow:serving:request_latency_count{model_name="text",API="Predict",entrypoint="GRPC"} 4
:tensorflow:serving:request_latency_bucket{model_name="text",API="",entrypoint="REST",le="1000"} 1000
:tensorflow:serving:request_latency_bucket{model_name="text",API="",entrypoint="REST",le="+Inf"} 1000
:tensorflow:serving:request_latency_count{model_name="text",API="",entrypoint="REST"} 1000
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/current/tensorflow/1",status="success"} 1
headrace_nonfinite_outputs_total 3
"""


def test_tensorflow_servings_metrics_are_read():
    """By gRPC code, in microseconds, by API and entrypoint; its 1,000 answers to probes are no predictions."""
    read = parse_metrics(TENSORFLOW_SERVING, TENSORFLOWS)

    assert (read.requests, read.errors, read.rejections, read.nonfinite) == (9, 2, 4, 3)
    assert read.buckets == ((0.001, 3), (INFINITY, 7))


GATEWAY_ROUTE = {
    "metadata": {"namespace": "team-a", "name": "text"},
    "spec": {"parentRefs": [{"namespace": "infra", "name": "headrace"}]},
}


def gateway_line(service, code, count):
    """One series as Traefik writes it."""
    backend = f"httproute-team-a-text-gw-infra-headrace-ep-web-0-0c3125c5-svc-team-a-{service}-0@kubernetesgateway"
    labels = f'code="{code}",method="POST",protocol="http",service="{backend}"'
    return f"traefik_service_requests_total{{{labels}}} {count}\n"


TRAEFIK = (
    gateway_line("text-1", 200, 90)
    + gateway_line("text-1", 502, 7)
    + gateway_line("text-1", 499, 3)
    + gateway_line("text-2", 200, 5)
    + gateway_line("text-1", 502, 7).replace("_service_", "_router_")
)


def test_the_gateways_counters_of_one_revision_are_read():
    assert parse_gateway_metrics(TRAEFIK, backend_pattern(GATEWAY_ROUTE, "text-1")) == Counters(97, 7, 3)
    assert parse_gateway_metrics(TRAEFIK, backend_pattern(GATEWAY_ROUTE, "text-9")) == Counters()


def test_what_no_pod_ever_saw_fails_a_canary():
    """Its pods answered everything that reached them."""
    pods, gateway = answered(200), answered(220, errors=20)

    judged = judge(success(), with_unseen(pods, gateway), answered(500), None)

    assert judged.verdict is Verdict.FAIL
    assert "20 failed at the gateway" in judged.message


@given(counters, counters)
def test_no_error_is_counted_twice(pods, gateway):
    """Both see the same requests; the pods' own are never fewer than before."""
    both = with_unseen(*(Window(c.requests, c.errors, c.rejections) for c in (pods, gateway)))

    assert both.errors == max(pods.errors, gateway.errors)
    assert both.requests == max(pods.requests, gateway.requests)
    assert both.rejections == pods.rejections


prefixes = st.sampled_from(
    ["", 'headrace_requests_total{code="', 'headrace_request_duration_seconds_bucket{le="', '200"} ', '"} ', "nan"]
)
lines = st.lists(st.tuples(prefixes, st.text(max_size=12), prefixes, st.text(max_size=12)).map("".join), max_size=8)


@given(st.one_of(st.text(), lines.map("\n".join)))
def test_any_text_is_read_and_can_be_kept(text):
    read = parse_metrics(text, OURS)

    assert counters_of(baseline_of("pod", read)).requests == read.requests
    assert window({"pod": read}, [baseline_of("pod", read)]).requests == 0


@pytest.mark.parametrize(
    "line", ["headrace_requests_total{" + "a" * 1_000_000 + "} 1", "headrace_requests_total{" * 40_000]
)
@pytest.mark.timeout(30)  # in time that grows with the square it would be hours
def test_a_pod_cannot_keep_the_operator_busy(line):
    """Its metrics are anybody's text."""
    assert parse_metrics(line, OURS) == Counters()
    assert parse_metrics("\n".join(["headrace_requests_total{" + "a" * 1000 + "} 1"] * 1000), OURS) == Counters(1000)


@pytest.mark.parametrize("value", ["NaN", "-5", "+Inf", "", "1e400", "x"])
def test_a_value_that_is_no_count_counts_nothing(value):
    assert parse_metrics(f'headrace_requests_total{{code="200"}} {value}\n', OURS).requests == 0

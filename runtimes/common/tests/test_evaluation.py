"""The names of what an evaluation measures: MLflow takes each of them, and no two slices share one."""

from __future__ import annotations

import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_common.evaluation import FAIRNESS, METRICS, PREFIXES, Task, metric_key, slice_of, slice_of_key

# As headrace.api.scalars has it for a gate, and MLflow for a metric.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.: -]*(/[A-Za-z0-9_][A-Za-z0-9_.: -]*)*")
COLUMNS = st.text(min_size=1, max_size=300).filter(lambda name: "=" not in name)
SLICES = st.just("") | COLUMNS | st.builds(slice_of, COLUMNS, st.text(max_size=300))


@pytest.mark.parametrize(
    ("metric", "of_slice", "key"),
    [
        ("accuracy", "", "accuracy"),
        ("accuracy", "region=north", "accuracy/region:north"),
        ("demographic_parity_ratio", "sex", "demographic_parity_ratio/sex"),
        ("f1", "age_group=30-39.5 years", "f1/age_group:30-39.5 years"),
        ("f1", "Größe=a=b", "f1/Gr::c3::b6::c3::9fe:a::3db"),
        ("f1", ".hidden=", "f1/_::-.hidden:"),
    ],
)
def test_a_slice_has_a_name_that_a_person_can_read(metric, of_slice, key):
    assert metric_key(metric, of_slice) == key


@given(st.sampled_from(["", *PREFIXES]), SLICES)
def test_every_slice_has_a_name_that_mlflow_takes(prefix, of_slice):
    key = prefix + metric_key("top_5_accuracy", of_slice)
    assert NAME.fullmatch(key)
    assert posixpath.normpath(key) == key
    assert len(key) <= 250


@given(SLICES, SLICES)
def test_two_slices_never_have_the_same_name(one, other):
    assert (metric_key("f1", one) == metric_key("f1", other)) == (one == other)


PARTS = st.text(alphabet="a_.-/: é3c9", min_size=1, max_size=6)


@given(PARTS, PARTS, PARTS, PARTS)
def test_what_is_escaped_and_what_looks_so_are_told_apart(one, first, other, second):
    keys = {metric_key("f1", slice_of(one, first)), metric_key("f1", slice_of(other, second)), metric_key("f1", one)}
    assert len(keys) == len({(one, first), (other, second), one})


@given(SLICES | st.builds(slice_of, PARTS, PARTS))
def test_a_name_is_read_back_as_its_slice(of_slice):
    key = metric_key("f1", of_slice)
    assert slice_of_key("f1", key) == (of_slice if of_slice and len(key) < 220 else None)
    assert slice_of_key("accuracy", key) is None


@pytest.mark.parametrize("key", ["f1", "f1/a:b:c", "f1_weighted/a:b", "samples/f1/a:b"])
def test_what_is_no_name_of_a_slice_is_none(key):
    assert slice_of_key("f1", key) is None


def test_every_task_but_a_script_has_metrics_and_none_looks_like_what_is_derived():
    assert set(METRICS) == set(Task) - {Task.SCRIPT}
    assert set(FAIRNESS) <= set(METRICS)
    names = [name for table in (METRICS, FAIRNESS) for metrics in table.values() for name in metrics]
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert not {f"{name}/" for name in names} & set(PREFIXES)

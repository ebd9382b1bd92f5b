"""What of a planned object counts as there already."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.kube.unchanged import marked, stands

WANTED = {
    "metadata": {"name": "text", "namespace": "shop", "labels": {"app": "text"}},
    "spec": {"replicas": 2, "template": {"containers": [{"name": "server", "args": ["--port=1"]}]}},
}


def live(**changes):
    """As the API server has it after it was applied: with defaults, a status and what others have added."""
    found = copy.deepcopy(marked(WANTED))
    found["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    found["metadata"]["labels"]["of-others"] = "yes"
    found["spec"] |= {"strategy": {"type": "RollingUpdate"}, **changes}
    found["spec"]["template"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    return found | {"status": {"replicas": 2}}


def test_what_the_api_server_and_others_add_is_no_difference():
    assert stands(marked(WANTED), live())


def test_a_field_that_somebody_changed_is_one():
    assert not stands(marked(WANTED), live(replicas=3))


def test_a_field_that_is_planned_no_more_is_one_though_all_that_is_planned_is_there():
    fewer = copy.deepcopy(WANTED)
    del fewer["spec"]["template"]["containers"][0]["args"]

    assert not stands(marked(fewer), live())


def test_an_object_that_was_applied_before_there_were_marks_is_one():
    unmarked = live()
    del unmarked["metadata"]["annotations"]

    assert not stands(marked(WANTED), unmarked)


@pytest.mark.parametrize("containers", [[], [{"name": "sidecar"}, {"name": "server", "args": ["--port=1"]}]])
def test_a_list_of_another_length_is_one(containers):
    assert not stands(marked(WANTED), live(template={"containers": [*containers, {"terminationMessagePath": ""}]}))


def test_the_planned_object_is_left_as_it_was():
    before = copy.deepcopy(WANTED)

    marked(WANTED)

    assert before == WANTED


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_another_plan_never_stands_where_this_one_was_applied(one, other):
    def planned(spec):
        return {"metadata": {"name": "x"}, "spec": spec}

    applied = marked(planned(one))

    assert stands(marked(planned(one)), applied)
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # for Python 1 is True, too
    assert stands(marked(planned(other)), applied) == is_same

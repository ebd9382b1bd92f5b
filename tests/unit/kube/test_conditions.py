from headrace.kube.conditions import find_condition, set_condition

EARLIER, NOW = "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z"


def ready(status, reason="Reason", generation=1, now=EARLIER):
    return set_condition([], "Ready", status, reason, "message", generation, now)


def test_a_new_condition_is_added_behind_the_others():
    conditions = set_condition(ready("True"), "Progressing", "False", "Done", "all done", 2, NOW)

    assert [condition["type"] for condition in conditions] == ["Ready", "Progressing"]
    assert conditions[1] == {
        "type": "Progressing",
        "status": "False",
        "observedGeneration": 2,
        "lastTransitionTime": NOW,
        "reason": "Done",
        "message": "all done",
    }


def test_the_transition_time_stays_while_the_status_stays_though_reason_and_generation_change():
    [condition] = set_condition(ready("False"), "Ready", "False", "Other", "message", 2, NOW)

    assert (condition["lastTransitionTime"], condition["reason"], condition["observedGeneration"]) == (
        EARLIER,
        "Other",
        2,
    )


def test_the_transition_time_moves_with_the_status():
    [condition] = set_condition(ready("False"), "Ready", "True", "Reason", "message", 1, NOW)

    assert condition["lastTransitionTime"] == NOW


def test_the_given_conditions_are_left_alone_and_setting_the_same_again_is_the_same():
    before = ready("True")
    after = set_condition(before, "Ready", "True", "Reason", "message", 1, NOW)

    assert after == before
    assert after is not before
    set_condition(before, "Ready", "False", "Reason", "message", 1, NOW)
    assert before == ready("True")


def test_a_condition_is_found_by_its_type():
    assert find_condition(ready("True"), "Ready")["status"] == "True"
    assert find_condition(ready("True"), "Failed") is None

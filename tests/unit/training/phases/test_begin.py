"""The beginning of an attempt: its entry in status, and its objects."""

from dataclasses import replace

import pytest

from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, SERVICES
from headrace.training.plan import plan
from headrace.training.view import Start
from training_builders import (
    NOW,
    SETTINGS,
    UID,
    batch_job,
    pod,
    training_job,
)
from training_looks import NOTHING, SECOND, begun, between_attempts, created, kinds, look, under_way

ATTEMPT_3 = {"number": 3, "job": "text-3", "image": "i", "startedAt": "2030-01-01T12:00:00Z"}


def test_the_first_pass_writes_the_attempt_and_creates_its_objects():
    planned = look(training_job(), NOTHING)

    assert planned.status["attempt"]["number"] == 1
    assert planned.status["attempt"]["job"] == "text-1"
    assert kinds(planned) == [NETWORKPOLICIES, CONFIGMAPS, SERVICES, JOBS]


def test_a_job_s_pods_are_reached_by_each_other_and_for_progress_by_the_operator():
    planned = look(training_job(), NOTHING)

    spec = created(planned, NETWORKPOLICIES)["spec"]
    template = created(planned, JOBS)["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert spec["podSelector"]["matchLabels"] == {"headrace.dev/trainingjob-uid": UID}
    among_workers, from_operator = spec["ingress"]
    assert among_workers == {"from": [{"podSelector": spec["podSelector"]}]}
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": SETTINGS.operator_namespace}}
    assert from_operator["from"] == [{"namespaceSelector": namespace}]
    assert [port["port"] for port in from_operator["ports"]] == [9400]


def test_where_the_installation_wants_no_network_policies_there_are_none():
    planned = plan(training_job(), NOTHING, Start(), NOW, replace(SETTINGS, network_policies=False))

    assert kinds(planned) == [CONFIGMAPS, SERVICES, JOBS]


def test_a_second_pass_before_the_job_was_seen_creates_the_same_again():
    first = look(training_job(), NOTHING)

    again = look(training_job(first.status), NOTHING)

    assert again.creates == first.creates


def test_the_job_is_indexed_never_retries_and_keeps_its_pods_until_their_record_is_taken():
    job = created(look(training_job(workers=3), NOTHING), JOBS)

    assert job["spec"]["completionMode"] == "Indexed"
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (3, 3, 0)
    assert job["spec"]["template"]["metadata"]["finalizers"] == ["headrace.dev/record"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["metadata"]["ownerReferences"][0]["uid"] == UID


def test_the_pod_runs_without_privilege_and_without_a_token():
    job = created(look(training_job(), NOTHING), JOBS)
    spec = job["spec"]["template"]["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(("period", "pod", "launcher"), [(None, 30, "25"), ("2m", 120, "115"), ("15500ms", 16, "11")])
def test_the_grace_period_is_the_pods_and_the_launchers(period, pod, launcher):
    checkpoint = {} if period is None else {"checkpoint": {"gracePeriod": period}}
    spec = created(look(training_job(**checkpoint), NOTHING), JOBS)["spec"]["template"]["spec"]

    assert spec["terminationGracePeriodSeconds"] == pod
    [grace] = [one["value"] for one in spec["containers"][0]["env"] if one["name"] == "HEADRACE_GRACE_SECONDS"]
    assert grace == launcher


def test_the_pods_ask_for_the_releases_pull_secrets():
    settings = replace(SETTINGS, image_pull_secrets=("registry",))

    job = created(plan(training_job(), NOTHING, Start(), NOW, settings), JOBS)

    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_pods_are_told_the_package_index_and_the_users_own_wins():
    settings = replace(SETTINGS, package_index_url="https://pypi.example.com/simple")
    plain = {"name": "UV_DEFAULT_INDEX", "value": "https://own.example.com/simple"}
    secret = {"name": "UV_DEFAULT_INDEX", "valueFrom": {"secretKeyRef": {"name": "package-index", "key": "url"}}}

    def index_of(job, settings):
        [container] = created(plan(job, NOTHING, Start(), NOW, settings), JOBS)["spec"]["template"]["spec"][
            "containers"
        ]
        return [env for env in container["env"] if env["name"] == "UV_DEFAULT_INDEX"]

    assert index_of(training_job(), SETTINGS) == []
    assert [env["value"] for env in index_of(training_job(), settings)] == ["https://pypi.example.com/simple"]
    for own in (plain, secret):
        overlay = {"spec": {"containers": [{"name": "trainer", "env": [own]}]}}
        assert index_of(training_job(podTemplate=overlay), settings) == [own]


def test_the_users_pod_template_adds_to_the_trainer_and_cannot_take_the_bookkeeping_away():
    overlay = {
        "metadata": {"labels": {"team": "a", "headrace.dev/attempt": "9"}, "finalizers": []},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "trainer", "env": [{"name": "X", "value": "1"}]}]},
    }
    job = created(look(training_job(podTemplate=overlay), NOTHING), JOBS)
    template = job["spec"]["template"]

    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["labels"]["headrace.dev/attempt"] == "1"
    assert template["metadata"]["finalizers"] == ["headrace.dev/record"]
    assert template["spec"]["restartPolicy"] == "Never"
    assert [env["name"] for env in template["spec"]["containers"][0]["env"]][-1] == "X"


def test_an_attempt_whose_job_was_not_made_begins_when_what_was_missing_is_there():
    waiting = look(training_job(begun()), replace(NOTHING, source=None)).status

    planned = look(training_job(waiting), NOTHING, Start("7", "team-a", "team-a/x"))

    assert kinds(planned) == [NETWORKPOLICIES, CONFIGMAPS, SERVICES, JOBS]
    assert (planned.status["reason"], planned.status["run"]["experimentID"]) == ("WaitingForPods", "7")


@pytest.mark.parametrize("reason", ["Refused", "NameInUse"])
def test_an_attempt_whose_objects_cannot_be_created_tries_again_and_its_status_stays_the_same(reason):
    """Else each pass would write that it creates them, and then that it cannot."""
    job = training_job(begun(reason=reason, message="why"))

    planned = look(job, NOTHING)

    assert JOBS in kinds(planned)
    assert (planned.status["reason"], planned.status["message"]) == (reason, "why")


def test_of_the_attempts_before_one_is_kept_whichever_pass_sees_the_others():
    """An operator that died after it had created an attempt's Job leaves them to the next."""
    jobs = tuple(batch_job(f"text-{number}") for number in (1, 2, 3))

    beginning = look(training_job(begun() | {"attempt": ATTEMPT_3}), replace(NOTHING, jobs=jobs[:2]))
    later = look(training_job(under_way(3)), replace(NOTHING, jobs=jobs, pods=(pod(0, attempt=3),)))

    assert [delete.name for delete in beginning.deletes] == ["text-1"]
    assert [delete.name for delete in later.deletes] == ["text-1"]


def test_the_next_attempt_gets_what_the_attempts_before_it_left_of_the_deadline():
    job = training_job(between_attempts(), activeDeadlineSeconds=100)

    planned = look(job, NOTHING, now=NOW + 6 * SECOND)

    assert created(planned, JOBS)["spec"]["activeDeadlineSeconds"] == 60

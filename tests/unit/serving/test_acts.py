"""What persons do to a rollout by annotations: each act, what it does to whom, and that it is done once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.acts import Act
from headrace.api.modelservice import ModelService
from headrace.kube.resources import HTTPROUTES
from headrace.labels import ACT, ACT_AT, ACT_BY, ACT_REASON, ACT_VERSION
from headrace.rollout.counters import Counters
from headrace.serving.observed import Observed, Trouble
from headrace.serving.plan import plan
from serving_builders import NOW, artifact, model_service, serving_pod
from training_builders import SETTINGS

CHECKS = [{"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 50}]
STEPS = [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}]
OOM = Trouble("OOM", "OutOfMemory", "used too much", "pod", "server", "raise resources.limits.memory", 137, True)
ENFORCED = replace(SETTINGS, approvals_enforced=True)


class Walk:
    """A service whose plans are carried out at once, and whose pods are ready unless a look says otherwise."""

    def __init__(self, steps=STEPS, **rollout):
        analysis = {"interval": "10s", "failureLimit": 1, "checks": CHECKS}
        self.service = model_service(rollout={"steps": steps, "analysis": analysis} | rollout)
        self.now, self.weights, self.asked, self.failed, self.version = NOW, None, 0, 0, 1
        self.trouble, self.errors, self.events, self.rolled_back, self.unready = None, 0, [], {}, set()
        self.settings = ENFORCED

    @property
    def status(self):
        return self.service.status

    @property
    def weight(self):
        return self.status.rollout.desired_weight if self.status.rollout else None

    def ask(self, act, version="2", by="alice", at=None, reason=""):
        """What `kubectl headrace ACT` writes."""
        at = at or (self.now + timedelta(milliseconds=1)).isoformat().replace("+00:00", "Z")
        marks = {ACT: act, ACT_VERSION: version, ACT_BY: by, ACT_AT: at, ACT_REASON: reason}
        self.annotate({name: value for name, value in marks.items() if value})

    def annotate(self, marks):
        metadata = self.service.metadata.model_copy(update={"annotations": marks})
        self.service = self.service.model_copy(update={"metadata": metadata})

    def look(self, seconds=1, written=True):
        """`written` False: the operator is killed before its status arrives."""
        self.now += timedelta(seconds=seconds)
        self.asked, self.failed = self.asked + 100, self.failed + self.errors
        pods, counters = [], {}
        for role, revision in (("stable", self.status.stable), ("canary", self.status.canary)):
            for index in range(revision.replicas if revision is not None else 0):
                name = f"{revision.revision}-{index}"
                trouble = self.trouble if role == "canary" else None
                works = role not in self.unready and trouble is None
                pods.append(serving_pod(name, revision.revision, trouble, ready=works))
                counters[name] = Counters(self.asked, self.failed if role == "canary" else 0)
        seen = Observed(
            artifact=artifact(self.version) if self.version else None,
            artifact_problem=None if self.version else ("TrackingUnavailable", "MLflow does not answer"),
            pods=tuple(pods),
            counters=counters,
            weights=self.weights,
            route_accepted=True,
            rolled_back=self.rolled_back,
        )
        planned = plan(self.service, seen, self.now, self.settings)
        if written:
            document = self.service.model_dump(mode="json", by_alias=True) | {"status": planned.status}
            self.service = ModelService.model_validate(document)
            self.events += planned.events
            for kind, obj in planned.applies:
                if kind == HTTPROUTES:
                    self.weights = {ref["name"]: ref["weight"] for ref in obj["spec"]["rules"][0]["backendRefs"]}
        return planned

    def until(self, *reasons, looks=300):
        for _ in range(looks):
            self.look()
            if {self.status.reason, self.status.phase} & set(reasons):
                return self
        raise AssertionError(f"never {reasons}: {self.status.reason}: {self.status.message}")

    def serves(self, version):
        return self.status.stable.model.version == version

    @property
    def answer(self):
        last = self.status.acts[-1]
        return last.outcome, last.message


def stable(**given):
    walk = Walk(**given)
    return walk.until("Serving")


def rolls_out(reason="Holding", **given):
    walk = stable(**given)
    walk.version = 2
    return walk.until(reason)


# --- a pause of the spec ---------------------------------------------------------------------------------------------

PAUSES = [{"weight": 10, "hold": "30s", "pause": {}}, {"weight": 50, "hold": "30s"}]


def test_a_step_with_a_pause_waits_for_a_person_once_its_hold_is_over_and_says_which_command_goes_on():
    walk = rolls_out("WaitingForPerson", steps=PAUSES)

    for _ in range(2000):
        walk.look(seconds=60)

    assert (walk.status.phase, walk.status.reason, walk.weight) == ("Canarying", "WaitingForPerson", 10)
    assert "kubectl headrace skip text -n team-a continues" in walk.status.message


def test_what_waits_for_a_person_is_turned_back_when_it_fails():
    walk = rolls_out("WaitingForPerson", steps=PAUSES)
    walk.errors = 50

    walk.until("RolledBack")

    assert walk.status.rejected[0].reason == "AnalysisFailed"


def test_skip_ends_a_pause_of_the_spec():
    walk = rolls_out("WaitingForPerson", steps=PAUSES)
    walk.ask("skip")

    walk.look()

    assert (walk.weight, walk.answer[0]) == (50, "Done")
    walk.until("Promoted")
    assert walk.serves("2")


# --- what each act does ----------------------------------------------------------------------------------------------


def test_promote_goes_past_all_holds_pauses_and_checks():
    walk = rolls_out(steps=[{"weight": 10, "hold": "168h", "pause": {}}, {"weight": 50, "hold": "168h"}])
    walk.errors = 50
    walk.ask("promote", reason="it is urgent")

    walk.until("PromotedByHand")

    assert walk.serves("2")
    [ended] = walk.status.history
    assert (ended.outcome, ended.reason, ended.by) == ("Promoted", "PromotedByHand", "alice")
    assert "is promoted by alice (it is urgent) and gets all requests" in walk.status.message
    assert [(one.version, one.outcome, one.reason) for one in walk.status.pending_outcomes] == [
        ("2", "Promoted", "PromotedByHand")
    ]


def test_promote_waits_for_the_pods_of_all_requests():
    walk = rolls_out(steps=[{"weight": 10, "hold": "168h"}])
    walk.unready = {"canary"}
    walk.ask("promote")

    for _ in range(5):
        walk.look()
    assert walk.weights[walk.status.stable.revision] == 100

    walk.unready = set()
    walk.until("PromotedByHand")


def test_a_canary_that_crashes_is_turned_back_although_somebody_has_promoted_it():
    walk = rolls_out(steps=[{"weight": 10, "hold": "168h"}])
    walk.ask("promote")
    walk.trouble = OOM

    walk.until("RolledBack")

    assert walk.serves("1")
    assert walk.status.rejected[0].reason == "OutOfMemory"


def test_skip_ends_this_step_and_no_other():
    walk = rolls_out(steps=[{"weight": 10, "hold": "168h"}, {"weight": 50, "hold": "168h"}])
    walk.ask("skip")

    walk.look()
    assert walk.weight == 50
    for _ in range(100):
        walk.look(seconds=60)

    assert (walk.weight, walk.status.reason) == (50, "Holding")


def test_abort_turns_back_at_once_and_says_nothing_against_the_model():
    walk = rolls_out()
    walk.ask("abort", reason="wrong data")

    walk.look()
    assert (walk.status.phase, walk.status.reason, walk.weight) == ("RollingBack", "Aborted", 0)
    assert walk.status.failure is None
    told = [(one.version, one.outcome, one.reason) for one in walk.status.pending_outcomes]
    assert told == [("2", "Aborted", "Aborted")]
    for _ in range(100):
        walk.look()

    assert (walk.status.phase, walk.status.reason) == ("RolledBack", "Aborted")
    assert walk.serves("1")
    [ended] = walk.status.history
    assert (ended.outcome, ended.reason, ended.by) == ("Aborted", "Aborted", "alice")
    assert "aborted by alice (wrong data)" in walk.status.message


def test_abort_waits_while_only_the_canary_answers():
    walk = rolls_out()
    walk.unready = {"stable"}
    walk.ask("abort")

    for _ in range(5):
        walk.look()
    assert (walk.status.reason, walk.weight) == ("StableUnavailable", 10)

    walk.unready = set()
    walk.until("RolledBack")
    assert walk.status.history[-1].outcome == "Aborted"


def test_what_was_aborted_is_tried_again_when_somebody_asks():
    walk = rolls_out()
    walk.ask("abort")
    walk.until("RolledBack")
    walk.ask("retry")

    walk.until("Promoted")

    assert walk.serves("2")
    assert [ended.outcome for ended in walk.status.history] == ["Aborted", "Promoted"]


def test_what_was_turned_back_is_tried_again_when_somebody_asks():
    walk = rolls_out()
    walk.errors = 50
    walk.until("RolledBack")
    walk.errors = 0
    walk.ask("retry")

    walk.look()
    assert (walk.answer[0], walk.status.phase) == ("Done", "Canarying")

    walk.until("Promoted")


def test_what_only_its_tag_calls_turned_back_is_tried_again_when_somebody_asks():
    walk = stable()
    walk.version, walk.rolled_back = 2, {artifact(2): "Aborted"}
    walk.until("Aborted")
    walk.ask("retry")

    walk.until("Promoted")


def test_a_retry_waits_until_the_pods_of_the_last_try_are_gone_and_the_registry_answers():
    walk = rolls_out()
    walk.ask("abort")
    walk.look()
    walk.ask("retry")
    walk.look()
    assert (walk.status.phase, walk.status.acts[-1].act) == ("RollingBack", "abort")

    walk.version = None
    walk.until("TrackingUnavailable")
    assert walk.status.acts[-1].act == "abort"

    walk.version = 2
    walk.until("Promoted")


@pytest.mark.parametrize("reason", ["Preparing", "Applying", "Holding", "Promoting"])
def test_pause_holds_the_weight_where_it_is_until_resume(reason):
    walk = rolls_out(reason)
    held = walk.weight
    walk.ask("pause", reason="lunch")
    for _ in range(200):
        walk.look(seconds=60)

    assert (walk.status.reason, walk.weight) == ("Paused", held)
    assert "paused by alice (lunch)" in walk.status.message
    assert "kubectl headrace resume text -n team-a continues" in walk.status.message
    walk.ask("resume", by="bob")
    walk.until("Promoted")
    assert walk.serves("2")


def test_a_paused_canary_is_turned_back_when_it_fails():
    walk = rolls_out()
    walk.ask("pause")
    walk.until("Paused")
    walk.errors = 50

    walk.until("RolledBack")


def test_a_pause_uses_up_no_deadline_of_the_pods():
    walk = stable()
    walk.version, walk.unready = 2, {"canary"}
    walk.until("Preparing")
    walk.ask("pause")
    for _ in range(60):
        walk.look(seconds=60)
    walk.ask("resume")

    walk.look()
    walk.look()

    assert walk.status.phase == "Canarying"


@pytest.mark.parametrize(("steps", "weights"), [(STEPS, [0, 10, 50, 100]), ([], [0, 100])])
def test_restart_rolls_out_fresh_pods_of_what_serves(steps, weights):
    walk = stable(steps=steps)
    before = walk.status.stable.revision
    walk.ask("restart", version="1")
    seen = []
    while "Promoted" not in [walk.status.reason]:
        walk.look()
        seen += [] if walk.weight in (None, *seen) else [walk.weight]

    assert seen == weights
    assert walk.serves("1")
    assert walk.status.stable.revision != before
    walk.until("Serving")
    for _ in range(50):
        walk.look()
    assert walk.status.phase == "Stable"


def test_a_restart_that_fails_leaves_what_served_and_says_nothing_against_it():
    walk = stable()
    before = walk.status.stable.revision
    walk.ask("restart", version="1")
    walk.until("Holding")
    walk.errors = 50
    walk.until("RolledBack")
    for _ in range(50):
        walk.look()

    assert (walk.status.stable.revision, walk.status.pending_outcomes) == (before, ())
    walk.errors = 0
    walk.ask("restart", version="1")
    walk.until("Promoted")


def test_a_restart_tries_no_version_again_that_was_turned_back():
    walk = rolls_out()
    walk.errors = 50
    walk.until("RolledBack")
    walk.errors = 0
    walk.ask("restart", version="1")
    walk.until("Promoted")

    for _ in range(50):
        walk.look()

    assert walk.serves("1")
    assert walk.status.phase == "RolledBack"


# --- once, and about what it names -----------------------------------------------------------------------------------


def test_an_act_is_taken_once_however_long_its_annotation_stays():
    walk = rolls_out(steps=[{"weight": weight, "hold": "1h"} for weight in (10, 20, 30)])
    walk.ask("skip")
    for _ in range(100):
        walk.look()

    assert (walk.weight, len(walk.status.acts)) == (20, 1)
    assert [event.reason for event in walk.events].count("ActTaken") == 1


def test_an_operator_that_is_killed_before_its_status_arrives_takes_it_once_too():
    walk = rolls_out(steps=[{"weight": weight, "hold": "1h"} for weight in (10, 20, 30)])
    walk.ask("skip")
    for _ in range(5):
        walk.look(written=False)
    walk.look()
    walk.look()

    assert (walk.weight, len(walk.status.acts)) == (20, 1)


def test_the_same_again_is_another_act_when_it_was_asked_for_later():
    walk = rolls_out(steps=[{"weight": weight, "hold": "1h"} for weight in (10, 20, 30)])
    for expected in (20, 30):
        walk.ask("skip")
        walk.until("Holding")
        assert walk.weight == expected

    assert len(walk.status.acts) == 2


@pytest.mark.parametrize("act", [act for act in Act if act not in (Act.RETRY, Act.RESTART)])
def test_an_act_about_a_version_that_is_not_under_way_any_more_does_nothing_and_says_so(act):
    walk = rolls_out(steps=[{"weight": 10, "hold": "1h"}])
    walk.version = 3
    walk.until("Holding")
    walk.ask(act, version="2")

    walk.look()

    outcome, message = walk.answer
    assert outcome == "NothingDone"
    assert "the rollout under way is of version 3 of model team-a.text, and not of 2" in message
    assert (walk.weight, walk.status.reason, walk.status.rollout.act) == (10, "Holding", None)
    assert walk.events[-1].reason == "NothingDone"


@pytest.mark.parametrize("name", ["version", "digest", "revision"])
def test_a_version_may_be_called_by_its_number_its_digest_or_its_revision(name):
    walk = rolls_out(steps=[{"weight": 10, "hold": "1h"}])
    canary = walk.status.canary
    walk.ask("pause", version={"version": "2", "digest": canary.digest, "revision": canary.revision}[name])

    assert walk.until("Paused").answer[0] == "Done"


def refused_in(act, prepare=None, **asked):
    walk = stable()
    if prepare is not None:
        prepare(walk)
    walk.ask(act, **({"version": "1"} | asked))
    walk.look()
    return walk.answer


def aborted(walk):
    walk.version = 2
    walk.until("Holding")
    walk.ask("abort")
    walk.until("RolledBack")


def held(walk):
    walk.version = 2
    walk.until("Holding")


@pytest.mark.parametrize(
    ("act", "asked", "prepare", "said"),
    [
        *((act, {}, None, "no rollout is under way: version 1 of model team-a.text serves") for act in list(Act)[:3]),
        ("retry", {}, None, "version 1 of model team-a.text serves: there is nothing to try again"),
        ("retry", {"version": "7"}, None, "spec.model means version 1 of model team-a.text, and not 7"),
        ("retry", {"version": "2"}, held, "a rollout is under way, of version 2"),
        ("restart", {"version": "2"}, None, "version 1 of model team-a.text serves, and not 2"),
        ("restart", {}, held, "a rollout is under way, which brings fresh pods by itself"),
        ("resume", {"version": "2"}, held, "is not paused; to end a step that waits for a person"),
        ("abort", {"version": "2"}, aborted, "no rollout is under way: version 1"),
        ("explode", {}, None, "annotation headrace.dev/act is 'explode': it must be one of promote, skip, abort"),
        ("abort", {"by": ""}, None, "annotation headrace.dev/act-by is missing: kubectl headrace abort sets them all"),
        ("abort", {"at": "now"}, None, "it must be a time such as 2030-01-01T12:00:00Z"),
        ("abort", {"at": "2029-01-01T00:00:00Z"}, None, "before this ModelService was created: ask again"),
    ],
)
def test_where_there_is_nothing_to_do_nothing_is_done_and_it_is_said_why(act, asked, prepare, said):
    outcome, message = refused_in(act, prepare, **asked)

    assert outcome == "NothingDone"
    assert said in message


def test_before_anything_serves_there_is_no_rollout_to_steer():
    walk = Walk()
    walk.unready = {"canary"}
    walk.look()
    walk.ask("promote", version="1")
    walk.look()

    assert walk.answer == (
        "NothingDone",
        "nothing serves yet: the first revision takes no steps, and there is no rollout to steer",
    )


def test_an_abort_stands():
    walk = rolls_out()
    walk.unready = {"stable"}
    walk.ask("abort")
    walk.look()
    walk.ask("promote", by="bob")
    walk.look()

    assert walk.answer == ("NothingDone", "version 2 of model team-a.text is aborted by alice")


def test_the_record_has_who_when_why_and_whether_a_policy_has_looked_at_it():
    walk = rolls_out(steps=[{"weight": 10, "hold": "1h"}])
    walk.ask("pause", at="2030-01-01T13:00:00Z", reason="lunch")
    walk.look()
    walk.settings = replace(SETTINGS, approvals_enforced=False)
    walk.ask("resume", at="2030-01-01T14:00:00Z")
    walk.look()

    paused, resumed = walk.status.acts
    assert (paused.act, paused.version, paused.by, paused.at, paused.reason, paused.taken_at, paused.unverified) == (
        "pause",
        "2",
        "alice",
        "2030-01-01T13:00:00Z",
        "lunch",
        walk.now - timedelta(seconds=1),
        False,
    )
    assert (resumed.act, resumed.reason, resumed.unverified) == ("resume", None, True)

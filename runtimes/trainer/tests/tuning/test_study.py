"""What parameters trials are given: a function of their history, whoever was killed in between."""

from __future__ import annotations

import http.client
import json
import math
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_common.protocol.fields import Fields
from headrace_common.protocol.storage import Storage
from headrace_common.protocol.trials import Answer, Ask, Trial, TrialState, best_of, parse_answer, parse_ask
from headrace_common.protocol.tuning import Dimension, Goal, Kind, Pruner, Sampler, Tuning, parse_tuning
from headrace_trainer.tuning import main, pictures
from headrace_trainer.tuning.history import History
from headrace_trainer.tuning.instructions import Instructions
from headrace_trainer.tuning.reports import Reports
from headrace_trainer.tuning.results import as_json, leave
from headrace_trainer.tuning.study import study_of, suggest, to_prune

RATE = Dimension("rate", Kind.FLOAT, 0.0001, 0.1, log=True)
UNITS = Dimension("units", Kind.INT, 8, 64, step=8)
SHARE = Dimension("share", Kind.FLOAT, 0.0, 0.5, step=0.1)
KIND = Dimension("kind", Kind.CATEGORICAL, values=("relu", "tanh"))
SPACE = (RATE, UNITS, SHARE, KIND)


def tuning(sampler: Sampler = Sampler.TPE, space: tuple[Dimension, ...] = SPACE, **more: Any) -> Tuning:
    wanted = {"metric": "accuracy", "goal": Goal.MAXIMIZE, "seed": 7, "max_trials": 30, **more}
    return Tuning(sampler=sampler, space=space, **wanted)


def succeeded(number: int, parameters: dict[str, Any], value: float | None = None) -> Trial:
    """Best near rate 0.01, with relu."""
    found = -abs(math.log10(parameters["rate"]) + 2) + (parameters["kind"] == "relu")
    return Trial(number, TrialState.SUCCEEDED, parameters, found if value is None else value)


def told(trial: Trial) -> Trial:
    """As it comes back from the API server, which has one kind of numbers."""
    plain = {
        name: int(value) if isinstance(value, float) and value == int(value) else value
        for name, value in trial.parameters.items()
    }
    return parse_ask({"version": 1, "trials": [{**trial.as_json(), "parameters": plain}]}).trials[0]


@pytest.mark.parametrize("sampler", [Sampler.RANDOM, Sampler.TPE])
def test_parameters_are_of_the_space_and_each_trial_has_others(sampler: Sampler) -> None:
    asked = tuning(sampler)
    found = suggest(asked, (), range(12))

    assert list(found) == list(range(12))
    assert all(asked.fits(parameters) for parameters in found.values())
    assert len({json.dumps(parameters) for parameters in found.values()}) == 12
    assert all(round(one["share"], 10) in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5) for one in found.values())
    assert all(isinstance(one["units"], int) and one["units"] % 8 == 0 for one in found.values())


def test_the_first_trial_has_what_the_spec_has_and_what_does_not_fit_is_left_to_the_sampler() -> None:
    first = {"rate": 0.02, "units": 1000, "kind": "tanh", "epochs": 3}
    found = suggest(tuning(first=first), (), [0, 1])

    assert (found[0]["rate"], found[0]["kind"]) == (0.02, "tanh")
    assert found[0]["units"] in range(8, 65, 8)
    assert set(found[0]) == {"rate", "units", "share", "kind"}
    assert found[1]["rate"] != 0.02


def test_a_first_value_between_two_steps_is_left_to_the_sampler_and_stops_nothing() -> None:
    """It was begun by an earlier release, too: the trials after it are chosen all the same."""
    asked = tuning(space=(UNITS, SHARE), first={"units": 50, "share": 0.25})
    found = suggest(asked, (), [0])[0]
    assert (found["units"] % 8, round(found["share"] / 0.1, 9) % 1) == (0, 0)

    between = Trial(0, TrialState.SUCCEEDED, {"units": 50, "share": 0.25}, 0.5)
    other = Trial(1, TrialState.RUNNING, {"units": 56, "share": 0.30000000000000004})
    assert asked.fits(suggest(asked, (between, other), [2])[2])
    assert [asked.fits(trial.parameters) for trial in (between, other)] == [False, True]


@pytest.mark.parametrize("dimension", [SHARE, Dimension("x", Kind.FLOAT, 100000, 200000, step=0.01)])
def test_what_was_chosen_in_steps_is_learned_from(dimension: Dimension) -> None:
    asked = tuning(space=(dimension,))
    found = suggest(asked, (), range(12))
    trials = [Trial(number, TrialState.SUCCEEDED, one, 0.5) for number, one in found.items()]
    assert all(asked.fits(one) for one in found.values())
    assert len(study_of(asked, trials).trials) == 12


def test_a_question_that_cannot_be_answered_ends_the_program(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[int, Any]:
        raise ValueError("not of the space")

    monkeypatch.setattr(main, "suggest", fail)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nowhere = "http://127.0.0.1:1"
    asked = Instructions(tuning(port=port), "127.0.0.1", nowhere, Storage(nowhere, ""), "run", tmp_path, 0.0)
    threading.Thread(target=_ask, args=(port,), daemon=True).start()
    with pytest.raises(ValueError, match="not of the space"):
        main.tune(asked)


def _ask(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/trials", b'{"version": 1, "wanted": [0]}', method="POST")
    for _ in range(200):
        try:
            urllib.request.urlopen(request, timeout=5)
        except urllib.error.URLError:
            time.sleep(0.05)
        except (OSError, http.client.HTTPException):
            return


def test_a_grid_is_counted_through_once() -> None:
    asked = tuning(Sampler.GRID, (Dimension("a", Kind.INT, 1, 2), SHARE, KIND))

    found = suggest(asked, (), range(30))
    assert asked.trials == len(found) == 2 * 6 * 2
    assert len({json.dumps(one) for one in found.values()}) == 24
    assert found[0] == {"a": 1, "share": 0.0, "kind": "relu"}
    assert found[23] == {"a": 2, "share": 0.5, "kind": "tanh"}


def test_what_was_seen_is_learned_from() -> None:
    asked, trials = tuning(space=(RATE, KIND)), []
    for number in range(30):
        trials.append(told(succeeded(number, suggest(asked, trials, [number])[number])))

    late = trials[20:]
    assert sum(one.parameters["kind"] == "relu" for one in late) >= 7
    assert sum(0.002 < float(one.parameters["rate"]) < 0.05 for one in late) >= 7


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([Sampler.TPE, Sampler.RANDOM, Sampler.GRID]))
def test_whoever_is_killed_each_trial_is_begun_once(seed: int, parallel: int, sampler: Sampler) -> None:
    """The operator asks, and begins as many of what it is told as it lives for; then it asks again, whatever was
    answered to it before, and the pod may be another one.
    """
    chance = random.Random(seed)
    asked = tuning(sampler, (SHARE, KIND, UNITS) if sampler is Sampler.GRID else SPACE, max_trials=6)
    cluster: dict[int, Trial] = {}
    for _ in range(200):
        running = [number for number, trial in cluster.items() if trial.state is TrialState.RUNNING]
        if len(cluster) == asked.trials and not running:
            break
        free = min(parallel - len(running), asked.trials - len(cluster))
        wanted = [number for number in range(asked.trials) if number not in cluster][:free]
        history = [told(trial) for trial in cluster.values()]
        answer = suggest(asked, history, wanted)
        assert answer == suggest(asked, history, wanted), "another pod answers the same"
        said = [{"number": number, "parameters": one} for number, one in answer.items()]
        answered = parse_answer({"version": 1, "suggestions": said}, asked, Ask((), tuple(wanted)))
        assert answered is not None
        assert list(answered.suggestions) == wanted
        for number in wanted[: chance.randint(0, len(wanted))]:
            cluster[number] = Trial(number, TrialState.RUNNING, answered.suggestions[number])
        for number in running[: chance.randint(0, len(running))]:
            ended, value = chance.choice([(TrialState.SUCCEEDED, chance.random()), (TrialState.FAILED, None)])
            cluster[number] = Trial(number, ended, cluster[number].parameters, value)
    assert sorted(cluster) == list(range(asked.trials))


@pytest.mark.parametrize(("goal", "sign"), [(Goal.MAXIMIZE, 1), (Goal.MINIMIZE, -1)])
def test_who_is_behind_most_others_after_as_many_reports_is_stopped(goal: Goal, sign: int) -> None:
    parameters = {"rate": 0.01, "units": 8, "share": 0.1, "kind": "relu"}
    ended = [Trial(n, TrialState.SUCCEEDED, parameters, sign * 0.9, f"r{n}") for n in range(3)]
    running = [Trial(n, TrialState.RUNNING, parameters, run=f"r{n}") for n in (3, 4, 5)]
    reported = {f"r{n}": History(*(sign * value for value in (0.5, 0.6, 0.7))) for n in range(3)}
    reported["r3"] = History(sign * 0.4, sign * 0.5)
    reported |= {"r4": History(sign * 0.5, sign * 0.65), "r5": History(sign * 0.1)}
    asked = tuning(goal=goal, pruner=Pruner(startup_trials=3, warmup_steps=1))

    assert to_prune(asked, [*ended, *running], reported) == (3,)
    assert to_prune(asked, [*ended[:2], *running], reported) == ()
    assert to_prune(tuning(goal=goal), [*ended, *running], reported) == ()


def test_of_many_reports_some_are_kept_and_compared_at_the_same_place() -> None:
    """A loop that logs each of its steps, in each of a thousand trials."""
    long, short = History(*range(5000)), History(*range(900))
    assert (long.count, long.stride, len(long._kept)) == (5000, 8, 625)
    assert [long.at(place) for place in (0, 8, 4992, 5000)] == [0.0, 8.0, 4992.0, None]
    assert (short.stride, short.at(899), long.least, long.greatest) == (1, 899.0, 0.0, 4999.0)

    parameters = {"rate": 0.01, "units": 8, "share": 0.1, "kind": "relu"}
    trials = [Trial(0, TrialState.SUCCEEDED, parameters, 0.9, "long")]
    trials += [Trial(n, TrialState.RUNNING, parameters, run=f"r{n}") for n in (1, 2)]
    reported = {"long": long, "r1": History(*range(-1, 899)), "r2": History(*range(1, 901))}
    asked = tuning(pruner=Pruner(startup_trials=1))
    assert to_prune(asked, trials, reported) == ()  # place 896 of all, and what came after it is not held against them
    reported["r1"] = History(*(0.5 * n for n in range(900)))
    assert to_prune(asked, trials, reported) == (1,)
    assert math.isnan(History(math.nan).least)
    assert (History(math.nan, 2.0, 1.0, math.nan).least, History(math.nan, 2.0, 1.0).greatest) == (1.0, 2.0)


class Pages:
    """A run as MLflow gives it out, whose pages are asked for."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.asked: list[str] = []

    def history_page(self, run_id: str, key: str, token: str, most: int) -> tuple[list[tuple[int, float]], str]:
        self.asked.append(token)
        first = int(token or 0)
        following = str(first + most) if len(self.points) > first + most else ""
        return self.points[first : first + most], following


def test_of_a_run_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    pages = Pages()
    reports = Reports(pages, "accuracy")  # type: ignore[arg-type]

    def count() -> int:
        reports._read("r", TrialState.RUNNING)
        return reports.compared(lambda known: known["r"].count)

    pages.points = [(step, 0.5) for step in range(2500)]
    assert (count(), pages.asked) == (2500, ["", "1000", "2000"])
    pages.points += [(2400, 0.1), (2499, 0.1), (2500, 0.6)]  # it has gone on from a checkpoint
    assert (count(), pages.asked[3:]) == (2502, ["2000"])
    assert reports.compared(lambda known: known["r"].least) == 0.1


def test_what_is_no_trial_of_this_space_is_left_out() -> None:
    strange = [
        Trial(0, TrialState.SUCCEEDED, {"rate": 5.0, "units": 8, "share": 0.1, "kind": "relu"}, 1.0),
        Trial(1, TrialState.SUCCEEDED, {"other": 1}, 1.0),
        Trial(2, TrialState.SUCCEEDED, {"rate": 0.01, "units": 8, "share": 0.1, "kind": "relu"}, math.nan),
    ]
    assert tuning().fits(suggest(tuning(), strange, [3])[3])
    assert as_json(tuning(), strange[1:2])["importance"] is None


def test_an_answer_is_taken_as_far_as_it_was_asked_for_and_fits() -> None:
    good = {"rate": 0.01, "units": 8, "share": 0.1, "kind": "relu"}
    told = [
        {"number": 3, "parameters": good},
        {"number": 4, "parameters": good | {"rate": 1.0}},
        {"number": 5, "parameters": good | {"command": "x"}},
        {"number": 6, "parameters": {"rate": 0.01}},
        {"number": 7, "parameters": good | {"rate": True}},
        {"number": 9, "parameters": good},
        {"number": True, "parameters": good},
        "x",
    ]
    running = Trial(2, TrialState.RUNNING, good)
    asked = Ask((running, succeeded(0, good)), (3, 4, 5, 6, 7, 1))
    document = {"version": 1, "suggestions": told, "pruned": [2, 0, 9, "x", None]}
    answered = parse_answer(document, tuning(pruner=Pruner()), asked)
    assert answered is not None
    assert (answered.suggestions, answered.pruned) == ({3: good}, (2,))
    assert parse_answer(document, tuning(), asked) == Answer({3: good})
    for document in (None, [], {}, {"version": 2, "suggestions": []}, {"version": 1, "suggestions": {}}):
        assert parse_answer(document, tuning(), asked) is None


def test_instructions_and_questions_come_as_they_were_written() -> None:
    asked = tuning(first={"rate": 0.02, "deep": True}, pruner=Pruner(startup_trials=3, warmup_steps=2))
    assert parse_tuning(Fields(json.loads(json.dumps(asked.as_json())), "x"), "x") == asked


def test_the_files_say_what_all_trials_came_to(tmp_path: Any) -> None:
    asked = tuning()
    trials = [succeeded(number, one) for number, one in suggest(asked, (), range(12)).items()]
    trials.append(Trial(12, TrialState.FAILED, trials[0].parameters))
    leave(tmp_path, asked, trials)

    found = json.loads((tmp_path / "tuning.json").read_text())
    best = max(trials[:12], key=lambda one: one.value or 0)
    assert best_of(Goal.MAXIMIZE, trials) == best
    assert (found["best"]["number"], found["best"]["parameters"]) == (best.number, dict(best.parameters))
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert max(found["importance"], key=found["importance"].get) in ("rate", "kind")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history.png",
        "importance.png",
        "parallel.png",
        "tuning.json",
    ]


@pytest.mark.parametrize("count", [2, 3, 13])
def test_the_axis_of_trials_has_whole_numbers(count: int) -> None:
    asked = tuning()
    trials = [succeeded(number, one) for number, one in suggest(asked, (), range(count)).items()]
    figure, axes = pictures.pyplot.subplots()
    try:
        pictures._history(axes, asked, trials)
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    finally:
        pictures.pyplot.close(figure)

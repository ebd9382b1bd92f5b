"""After a call that was never answered, one at a time finds out whether the server is back."""

from headrace.tracking.breaker import Breaker


class Time:
    now = 100.0

    def __call__(self):
        return self.now


def opened():
    time = Time()
    breaker = Breaker(open_seconds=5.0, clock=time)
    assert breaker.admits()
    breaker.silent()
    return breaker, time


def test_calls_that_are_answered_are_all_let_through():
    breaker = Breaker()
    for _ in range(3):
        assert breaker.admits()
        breaker.answered()


def test_after_a_silence_calls_are_refused_for_a_while():
    breaker, time = opened()
    time.now += 4.9
    assert not breaker.admits()


def test_then_one_call_tries_and_the_others_are_refused():
    breaker, time = opened()
    time.now += 5.0
    assert [breaker.admits() for _ in range(3)] == [True, False, False]


def test_an_answer_to_the_trial_lets_all_through_again():
    breaker, time = opened()
    time.now += 5.0
    breaker.admits()
    breaker.answered()
    assert [breaker.admits() for _ in range(3)] == [True, True, True]


def test_a_silent_trial_is_a_new_while():
    breaker, time = opened()
    time.now += 5.0
    breaker.admits()
    breaker.silent()
    time.now += 4.9
    assert not breaker.admits()
    time.now += 0.1
    assert breaker.admits()


def test_a_trial_whose_caller_went_away_leaves_the_next_one_to_try():
    breaker, time = opened()
    time.now += 5.0
    breaker.admits()
    breaker.given_up()
    assert breaker.admits()

"""Loops that are left early, that have others or fits in them, and that cannot be found again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from loop_scripts import attempt, ended, killed

from thorough import thorough

LEFT = """
for i in headrace_client.steps(50):
    print("first", i, flush=True)
    train(model, optimizer)
    if i == 4:
        break
print("is", float(model(x)[0, 0]), flush=True)
other, of_other = network(), keras.optimizers.Adam()
for i in headrace_client.steps(60):
    print("second", i, flush=True)
    train(other, of_other)
"""


def test_a_loop_that_was_left_has_ended_where_another_one_follows(start_keras, tmp_path):
    first = attempt(start_keras, tmp_path, LEFT)
    newest = killed(first, 1, 6)
    second = ended(attempt(start_keras, tmp_path, LEFT, resume_dir=newest))
    assert "first" not in second.stdout
    before, after = (next(line for line in one.stdout.splitlines() if "is" in line) for one in (first, second))
    assert before == after
    assert second.of_type("resume")[-1]["exact"] is True


STOPPED = """
for i in headrace_client.steps(40):
    print("i", i, flush=True)
    train(model, optimizer)
    if headrace_client.should_stop():
        print("left", flush=True)
        break
"""


def test_a_loop_that_is_left_because_the_pod_is_stopped_goes_on_after_that_iteration(start_keras, tmp_path):
    first = attempt(start_keras, tmp_path, STOPPED)
    first.wait_until(lambda messages: any(m["type"] == "step" and m["step"] >= 5 for m in messages))
    first.signal(signal.SIGTERM)
    assert first.wait(20) == 75, first.stderr[-3000:]
    last = int(first.stdout.replace("left", "").split()[-1])
    newest = Path(first.of_type("checkpoint")[-1]["dir"])
    second = ended(attempt(start_keras, tmp_path, STOPPED, resume_dir=newest))
    began = int(second.stdout.split()[1])
    assert began == last + 1 if "left" in first.stdout else began <= last + 1
    assert second.stdout.split()[-1] == "39"


def test_a_script_that_an_error_ends_in_its_loop_goes_on_in_it(start_keras, tmp_path):
    text = """
for i in headrace_client.steps(30):
    print("i", i, flush=True)
    train(model, optimizer)
    if i == 20 and FAILS:
        raise OSError("the disk of the data is gone")
"""
    first = attempt(start_keras, tmp_path, text.replace("FAILS", "True"))
    assert first.wait() != 0
    checkpoint = first.of_type("checkpoint")[-1]
    second = ended(attempt(start_keras, tmp_path, text.replace("FAILS", "False"), resume_dir=checkpoint["dir"]))
    assert second.stdout.split()[1] == str(checkpoint["step"])
    assert second.stdout.split()[-1] == "29"


@pytest.mark.parametrize(
    "numbers", ["headrace_client.steps(40)", thorough("range(headrace_client.resumed_step(), 40)")]
)
def test_a_loop_whose_model_is_another_one_begins_at_its_first_step_and_says_so(numbers, start_keras, tmp_path):
    text = f"""
for i in {numbers}:
    print("i", i, flush=True)
    train(model, optimizer)
"""
    newest = killed(attempt(start_keras, tmp_path, text), 0, 6)
    second = ended(attempt(start_keras, tmp_path, "model = network(2)\n" + text, resume_dir=newest))
    assert second.stdout.split()[1::2] == [str(i) for i in range(40)]
    [told] = second.of_type("resume")
    assert (told["step"], told["exact"]) == (0, False)
    assert "begins from its first step" in told["message"]


def test_a_loop_that_makes_models_is_not_called_exact(start_keras, tmp_path):
    text = """
best = None
for i in headrace_client.steps(40):
    train(model, optimizer)
    if i % 5 == 0:
        best = keras.models.clone_model(model)
        best.set_weights(model.get_weights())
"""
    newest = killed(attempt(start_keras, tmp_path, text), 0, 8)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    told = second.of_type("resume")[-1]
    assert told["exact"] is None
    assert "the loop has made models of its own" in told["message"]


def test_steps_in_an_iteration_are_a_range_and_an_iteration_that_is_a_fit_is_followed_as_one(start_keras, tmp_path):
    text = """
for i in headrace_client.steps(20):
    print(*headrace_client.steps(2, 5), flush=True)
    train(model, optimizer)

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)

model.compile("adam", "mse")
for i in headrace_client.steps(3):
    print("fit", i, flush=True)
    model.fit(x, x[:, :1], epochs=30, batch_size=4, verbose=0, callbacks=[Slow()])
"""
    newest = killed(attempt(start_keras, tmp_path, text), 2, 10)
    second = ended(attempt(start_keras, tmp_path, text, resume_dir=newest))
    assert second.stdout == "fit 0\nfit 1\nfit 2\n"
    told = second.of_type("resume")[-1]
    assert (told["fit"], told["exact"]) == (2, True)


EPOCHS = """
def main():
    for i in BEGIN:
        if i % 20 == 0:
            order = MADE
        train(model, optimizer, x[next(iter(order)) :])
        last = tf.constant(i)
    print("last", int(last), flush=True)

main()
time.sleep(REPORT)
"""
MADE = {
    "steps": ("headrace_client.steps(40)", True),
    "steps, the script's own names": ("headrace_client.steps(40)", False),
    "resumed_step": ("range(headrace_client.resumed_step(), 40)", True),
    "resumed_step, the script's own names": ("range(headrace_client.resumed_step(), 40)", False),
}


def made(kind: str, report: str, value: str = "np.random.permutation(8)[:1]") -> str:
    begin, is_function = MADE[kind]
    text = EPOCHS.replace("BEGIN", begin).replace("MADE", value).replace("REPORT", report)
    return text if is_function else text.replace("\nmain()", "").replace("def main():", "if True:")


# Each way to count, and each place of its names, once.
@pytest.mark.parametrize(
    "kind",
    [
        "steps",
        "resumed_step, the script's own names",
        thorough("steps, the script's own names"),
        thorough("resumed_step"),
    ],
)
def test_a_name_that_an_earlier_iteration_has_made_is_there_in_the_later_ones(kind, start_keras, tmp_path):
    newest = killed(attempt(start_keras, tmp_path, made(kind, "0")), 0, 6)
    second = ended(attempt(start_keras, tmp_path, made(kind, "0"), resume_dir=newest))
    told = second.of_type("resume")[-1]
    assert told["exact"] is True, told["message"]
    assert second.stdout == "last 39\n"


@pytest.mark.parametrize("kind", [thorough("steps"), "steps, the script's own names"])
def test_a_name_that_a_loop_has_made_is_there_after_it_where_it_had_ended(kind, start_keras, tmp_path):
    first = attempt(start_keras, tmp_path, made(kind, "0"))
    first.wait_until(lambda messages: any(m["type"] == "checkpoint" and m["step"] == 40 for m in messages))
    first.signal(signal.SIGKILL)
    first.wait()
    newest = Path(first.of_type("checkpoint")[-1]["dir"])
    second = ended(attempt(start_keras, tmp_path, made(kind, "0"), resume_dir=newest))
    assert second.stdout == "last 39\n"


def test_a_name_of_something_else_is_told_with_what_to_do(start_keras, tmp_path):
    text = made("steps", "0", "itertools.cycle([0])")
    newest = killed(attempt(start_keras, tmp_path, text), 0, 6)
    second = attempt(start_keras, tmp_path, text, resume_dir=newest)
    assert second.wait() != 0
    [told] = second.of_type("exception")
    assert "'order'" in told["message"]
    assert "make it before the loop" in told["message"]

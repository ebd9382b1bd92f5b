"""Pictures of the run's metrics: which there are, what is in them, and that they are kept with the run."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace_trainer.launcher.tracking.curves.pictures import pictures
from headrace_trainer.launcher.tracking.curves.svg import MOST_POINTS, Series, draw, ticks

SVG = "{http://www.w3.org/2000/svg}"
NAN, INFINITY = float("nan"), float("inf")


# --- kept with the run ---


@pytest.fixture
def tracked(s3, mlflow):
    bucket = s3.bucket()
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    return bucket, {"storage": storage, "tracking": mlflow.experiment("curves", f"s3://{bucket}/mlflow")}


def kept(s3, bucket):
    """The run's curves by their names."""
    keys = [key for key in s3.keys(bucket, "mlflow/") if "/artifacts/curves/" in key]
    return {key.split("/curves/")[1]: s3.get(bucket, key).decode() for key in keys}


def test_the_curves_of_all_attempts_are_kept_whatever_each_ended_with(launch, s3, tracked):
    bucket, config = tracked
    first = launch("from standin_adapter import *\ntrain(6, epochs=2, per_epoch=3)\nraise ValueError", config=config)
    assert first.wait() == 1, first.log
    assert kept(s3, bucket).keys() == {"loss.svg", "step/loss.svg", "val_accuracy.svg"}
    goes_on = "from standin_adapter import *\ntrain(12, start=6, epochs=4, per_epoch=3)"
    second = launch(goes_on, config=config, attempt=2, env={"HEADRACE_SAMPLE_SECONDS": "0.1"})
    assert second.wait() == 0, second.log

    found = kept(s3, bucket)

    assert found.keys() == {"loss.svg", "step/loss.svg", "val_accuracy.svg"}  # none of system/...
    marks = {name: len(ET.fromstring(text).findall(f"{SVG}circle")) for name, text in found.items()}
    assert marks == {"loss.svg": 4, "step/loss.svg": 12, "val_accuracy.svg": 4}


def test_a_model_s_digest_does_not_know_of_them(launch, s3, tracked):
    bucket, config = tracked
    with_model = {**config, "output": {"formats": ["ONNX"]}}
    script = "from standin_adapter import *\ntrain({steps})\nexport('ONNX')"
    digests = set()
    for uid, steps in (("uid-1", 3), ("uid-2", 5)):
        launched = launch(script.format(steps=steps), config=with_model, uid=uid)
        assert launched.wait() == 0, launched.log
        digests.add(launched.record["model"]["digest"])
    assert len(digests) == 1
    assert len([key for key in s3.keys(bucket) if key.endswith("curves/step/loss.svg")]) == 2


# --- which there are ---


def described(keys):
    return {picture.name: (picture.x_label, [key for _, key in picture.curves]) for picture in pictures(keys)}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            ["loss", "epoch/loss", "val_loss", "eval_loss"],
            {
                "loss": ("epoch", ["epoch/loss", "val_loss"]),
                "step/loss": ("step", ["loss"]),
                "eval_loss": ("step", ["eval_loss"]),
            },
        ),
        (["loss", "val_loss"], {"loss": ("step", ["loss", "val_loss"])}),
        (["epoch/a", "val_b"], {"a": ("epoch", ["epoch/a"]), "val_b": ("epoch", ["val_b"])}),
        (["system/cpu_utilization_percentage", "f1"], {"f1": ("step", ["f1"])}),
        # two that would have one name
        (
            ["loss", "epoch/loss", "epoch/step/loss"],
            {"loss": ("epoch", ["epoch/loss"]), "step/loss": ("epoch", ["epoch/step/loss"])},
        ),
        ([], {}),
    ],
)
def test_a_metric_is_drawn_with_its_validation(keys, expected):
    assert described(keys) == expected


# --- what is in them ---


def texts(svg):
    return [element.text for element in ET.fromstring(svg).findall(f"{SVG}text")]


def lines(svg):
    """The points of each line, as pixels."""
    found = ET.fromstring(svg).findall(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in one.get("points").split()] for one in found]


def test_a_picture_has_a_title_two_axes_and_a_legend():
    svg = draw("loss", "epoch", [Series("training", [(1, 1.0), (5, 0.0)]), Series("validation", [(1, 0.9), (5, 0.2)])])
    assert {"loss", "epoch", "training", "validation"} <= set(texts(svg))
    assert [text for text in texts(svg) if text.isdigit()] == ["1", "2", "3", "4", "5"]
    assert {"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"} <= set(texts(svg))
    falling, _ = lines(svg)
    assert falling == [(80.0, 60.0), (700.0, 360.0)]  # from the upper left corner to the lower right


def test_what_is_not_finite_is_a_gap_and_is_told():
    points = [
        (1, 0.5),
        (2, 0.4),
        (3, NAN),
        (4, 0.3),
        (5, INFINITY),
        (6, 0.3),
        (7, 1.7976931348623157e308),
        (8, -INFINITY),
    ]
    svg = draw("loss", "step", [Series("loss", points)])
    assert "not drawn, since NaN or infinite: 4 of loss" in texts(svg)
    assert [len(line) for line in lines(svg)] == [2]
    assert len(ET.fromstring(svg).findall(f"{SVG}circle")) == 4  # a point between two gaps has no line


def test_names_cannot_break_the_picture():
    name = '</svg><script>&"\x00\n' + "x" * 300
    svg = draw(name, name, [Series(name, [(1, 1), (2, 2)]), Series(name, [(1, NAN)])])
    assert texts(svg)[0].startswith('</svg><script>&"xxx')
    assert ET.fromstring(svg).find(f"{SVG}script") is None
    assert max(len(text) for text in texts(svg)) <= 60


def test_a_long_curve_keeps_its_ends_and_a_bounded_size():
    svg = draw("loss", "step", [Series("loss", [(step, 1 / step) for step in range(1, 200_001)])])
    [line] = lines(svg)
    assert len(line) == MOST_POINTS
    assert (line[0][0], line[-1][0]) == (80.0, 700.0)
    assert len(svg) < 20_000


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
CURVES = st.lists(st.tuples(st.integers(-(2**53), 2**53).map(float), NUMBERS), max_size=20)


@given(CURVES, CURVES)
@example([(1.0, 0.0), (2.0, 5e-324)], [])
@example([(1.0, 1e-310)], [(1.0, 2e-310)])
@example([(1.0, 9e299), (2.0, -9e299)], [])
@example([(0.0, 1e16), (1.0, 1e16 + 2)], [])
def test_any_values_make_one_picture_with_all_that_is_finite_inside(first, second):
    svg = draw("m", "step", [Series("training", sorted(first)), Series("validation", sorted(second))])
    assert svg == draw("m", "step", [Series("training", sorted(first)), Series("validation", sorted(second))])
    for x, y in (point for line in lines(svg) for point in line):
        assert 80 <= x <= 700
        assert 60 <= y <= 360
    assert "nan" not in svg
    assert "inf" not in svg.replace("infinite", "")


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.booleans())
def test_ticks_are_few_round_and_inside(low, span, is_whole):
    high = low + span
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high, is_whole=is_whole)
    assert len(found) <= 12
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in found)
    if is_whole:
        assert all(math.isclose(tick, round(tick)) for tick in found)

"""Prometheus' text format."""

from __future__ import annotations

from itertools import pairwise

import pytest

from headrace_serving import exposition


def test_a_histogram_counts_a_value_in_all_buckets_above_it():
    histogram = exposition.Histogram("h", (1.0, 2.5), {"model": "m"})
    for value in (1.0, 2.0, 7.0):
        histogram.observe(value)

    assert list(histogram.lines()) == [
        'h_bucket{model="m",le="1"} 1',
        'h_bucket{model="m",le="2.5"} 2',
        'h_bucket{model="m",le="+Inf"} 3',
        'h_sum{model="m"} 10.0',
        'h_count{model="m"} 3',
    ]


def test_a_series_without_labels_has_no_braces():
    lines = list(exposition.Histogram("h", ()).lines())
    assert lines == ['h_bucket{le="+Inf"} 0', "h_sum 0.0", "h_count 0"]
    assert exposition.single("n", "gauge", "Text.", 3) == ("# HELP n Text.", "# TYPE n gauge", "n 3")


def test_labels_are_escaped():
    assert exposition.sample("n", {"a": 'x"\\\ny'}, 1) == 'n{a="x\\"\\\\\\ny"} 1'


@pytest.mark.parametrize("lowest", [0.00025, 250])
def test_bounds_are_a_quarter_apart_up_to_a_minute(lowest):
    bounds = exposition.bounds(lowest)
    assert bounds[0] == lowest
    assert all(1.24 < above / below < 1.26 for below, above in pairwise(bounds))
    assert 60 < bounds[-1] * 0.00025 / lowest < 75

"""Shapes that are made up for free dimensions."""

from __future__ import annotations

import pytest

from headrace_serving import shapes


@pytest.mark.parametrize(
    ("shape", "made_up"), [((), ()), ((3,), (3,)), ((-1, 4), (1, 4)), ((-1, -1), (1, 8)), ((2, -1), (2, 8))]
)
def test_there_is_one_row_and_the_size_for_all_else_that_is_free(shape, made_up):
    assert shapes.one_row(shape, 8) == made_up


def test_sizes_are_tried_only_where_more_than_the_rows_is_free():
    assert shapes.sizes_to_try([(), (3,), (-1, 4)]) == (1,)
    assert shapes.sizes_to_try([(-1, 4), (-1, -1)]) == shapes.SIZES_TO_TRY
    assert shapes.sizes_to_try([(2, -1)]) == shapes.SIZES_TO_TRY

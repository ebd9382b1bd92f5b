"""Which ranges are asked for: whatever lies there already, all of the rest, once, in pieces of a bounded size."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headrace_loader.ranges import Range, Span, merged, missing, plan

PART = 7


@st.composite
def files(draw):
    """Sizes, and spans within them that may overlap."""
    sizes = draw(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 40), max_size=8))
    spans = {
        path: draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted).map(lambda p: Span(*p))))
        for path, size in sizes.items()
    }
    return sizes, spans


def bytes_of(spans):
    return [byte for span in spans for byte in range(span.begin, span.end)]


@given(files())
def test_each_missing_byte_is_asked_for_once_and_no_other(drawn):
    sizes, present = drawn
    ranges = plan(sizes, present, PART)
    for path, size in sizes.items():
        asked = bytes_of(one.span for one in ranges if one.path == path)
        assert len(asked) == len(set(asked))
        assert set(asked) == set(range(size)) - set(bytes_of(present[path]))


@given(files())
def test_no_piece_is_empty_or_larger_than_a_part(drawn):
    assert all(0 < one.span.size <= PART for one in plan(*drawn, PART))


@given(files())
def test_what_lies_there_and_what_is_asked_for_follow_upon_one_another(drawn):
    """A file's sum is made from its beginning on, from one span to the next."""
    sizes, present = drawn
    ranges = plan(sizes, present, PART)
    for path, size in sizes.items():
        pieces = sorted((*merged(present[path]), *(one.span for one in ranges if one.path == path)))
        ends = [0, *(piece.end for piece in pieces)]
        assert [piece.begin for piece in pieces] == ends[:-1]
        assert ends[-1] == size


@given(files())
def test_merging_changes_no_byte_and_leaves_gaps_between_the_spans(drawn):
    for spans in drawn[1].values():
        found = merged(spans)
        assert set(bytes_of(found)) == set(bytes_of(spans))
        assert all(before.end < after.begin for before, after in itertools.pairwise(found))


def test_the_largest_file_comes_first():
    assert [one.path for one in plan({"small": 1, "large": 3, "none": 0}, {})] == ["large", "small"]


def test_a_file_is_cut_into_parts_of_eight_mebibytes():
    part = 8 << 20
    assert plan({"a": 2 * part + 1}, {}) == (
        Range("a", Span(0, part)),
        Range("a", Span(part, 2 * part)),
        Range("a", Span(2 * part, 2 * part + 1)),
    )


def test_a_file_that_is_whole_has_no_gap():
    assert missing(3, [Span(0, 3)]) == ()

"""Which bytes of which file are still to be fetched, and in which pieces. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PART_BYTES = 8 << 20


@dataclass(frozen=True, order=True)
class Span:
    """The bytes of a file from `begin` up to `end`, which is not in it."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Range:
    """A span of the file at `path`: one request's worth."""

    path: str
    span: Span


def plan(
    sizes: Mapping[str, int], present: Mapping[str, Iterable[Span]], part_bytes: int = PART_BYTES
) -> tuple[Range, ...]:
    """What is missing of files of these sizes in bytes, in pieces of at most `part_bytes`. The largest file comes
    first: its sum takes longest.
    """
    largest_first = sorted(sizes, key=lambda path: (-sizes[path], path))
    return tuple(
        Range(path, piece)
        for path in largest_first
        for gap in missing(sizes[path], present.get(path, ()))
        for piece in _pieces(gap, part_bytes)
    )


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same bytes in as few spans as there can be, in order."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.begin <= found[-1].end:
            found[-1] = Span(found[-1].begin, max(found[-1].end, span.end))
        elif span.size > 0:
            found.append(span)
    return tuple(found)


def missing(size: int, present: Iterable[Span]) -> tuple[Span, ...]:
    """The gaps that `present`, which lies within it, leaves in a file of `size` bytes, in order."""
    gaps, covered = [], 0
    for span in (*merged(present), Span(size, size)):
        if span.begin > covered:
            gaps.append(Span(covered, span.begin))
        covered = span.end
    return tuple(gaps)


def _pieces(span: Span, part_bytes: int) -> Iterable[Span]:
    for begin in range(span.begin, span.end, part_bytes):
        yield Span(begin, min(begin + part_bytes, span.end))

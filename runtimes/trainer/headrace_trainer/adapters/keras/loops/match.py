"""Which of the script's models and optimizers is the one that a checkpoint of a loop speaks of.

By its class, its name and its place in the order of what the script has made; where the order is another one (an
iteration that is passed over makes none), by its name, if only one has it; else by its place among those that are built
alike, if there are as many of them as there were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from headrace_trainer.adapters.keras.loops.made import Made

_NUMBER = re.compile(r"_\d+$")

Description: TypeAlias = dict[str, Any]
Shapes: TypeAlias = list[list[int]]
ShapesOf: TypeAlias = Callable[[Any], Shapes]


def describe(thing: Any, made: Made, shapes_of: ShapesOf) -> Description:
    """As JSON."""
    shapes = shapes_of(thing)
    alike = _alike(type(thing).__name__, thing.name, shapes, made, shapes_of)
    return {
        "class": type(thing).__name__,
        "name": thing.name,
        "shapes": shapes,
        "number": made.number(thing),
        "place": next((place for place, one in enumerate(alike) if one is thing), -1),
        "alike": len(alike),
    }


def find(wanted: Iterable[Description], made: Made, shapes_of: ShapesOf) -> tuple[list[Any], str]:
    """The things, each once; else none, and which one is not there. What has no variables yet may get the right."""
    found: list[Any] = []
    for one in wanted:
        thing = _find(one, made, shapes_of)
        if thing is None or any(thing is other for other in found):
            return [], f"the {one['class']} {one['name']!r}"
        found.append(thing)
    return found, ""


def _find(wanted: Description, made: Made, shapes_of: ShapesOf) -> Any:
    alike = _alike(wanted["class"], wanted["name"], wanted["shapes"], made, shapes_of)
    named = [thing for thing in alike if thing.name == wanted["name"]]
    numbered = made.numbered(wanted["number"])
    if any(thing is numbered for thing in named):
        return numbered
    if len(named) == 1:
        return named[0]
    return alike[wanted["place"]] if len(alike) == wanted["alike"] and wanted["place"] >= 0 else None


def _alike(kind: str, name: str, shapes: Shapes, made: Made, shapes_of: ShapesOf) -> list[Any]:
    """Of one class, with one name but for Keras' numbers in it, with variables of these shapes, or none so far."""
    stem = _NUMBER.sub("", name)
    return [
        thing
        for thing in made.alive()
        if type(thing).__name__ == kind
        and _NUMBER.sub("", getattr(thing, "name", "")) == stem
        and shapes_of(thing) in ([], shapes)
    ]

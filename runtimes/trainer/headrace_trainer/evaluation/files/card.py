"""The model's card: what somebody reads who was not there. Whatever is not Headrace's own text is escaped."""

from __future__ import annotations

import html as markup
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace_common.evaluation import named

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#+!|~$])")
_NONE = "not said"
_MOST_SLICES = 100


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and a table below its own heading row; texts are as they were given."""

    title: str
    sentences: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()


def markdown(told: Mapping[str, Any], pictures: Sequence[str]) -> str:
    lines: list[str] = [f"# {_in_markdown(_title(told))}", ""]
    for section in _sections(told):
        lines += [f"## {section.title}", ""]
        for sentence in section.sentences:
            lines += [_in_markdown(sentence), ""]
        if section.table:
            rows = [[_in_markdown(cell) for cell in row] for row in section.table]
            lines += [_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:]), ""]
    if pictures:
        lines += ["## Pictures", "", *(f"![{name.removesuffix('.png')}]({name})" for name in pictures), ""]
    return "\n".join(lines)


def html(told: Mapping[str, Any], pictures: Sequence[str]) -> str:
    title = markup.escape(_title(told))
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2em .6em;text-align:left}"
        "img{max-width:100%}</style></head><body>",
        f"<h1>{title}</h1>",
    ]
    for section in _sections(told):
        parts.append(f"<h2>{section.title}</h2>")
        parts += [f"<p>{markup.escape(sentence)}</p>" for sentence in section.sentences]
        if section.table:
            parts += ["<table>", _cells(section.table[0], "th"), *(_cells(row, "td") for row in section.table[1:])]
            parts.append("</table>")
    parts += [f'<p><img src="{name}" alt="{name.removesuffix(".png")}"></p>' for name in pictures]
    return "\n".join([*parts, "</body></html>", ""])


def _title(told: Mapping[str, Any]) -> str:
    return f"Model card: {told['about'].get('model') or told['about'].get('name') or told['model']['digest'][:19]}"


def _sections(told: Mapping[str, Any]) -> list[Section]:
    card, about, data = told["card"], told["about"], told["data"]
    model = [("Digest", told["model"]["digest"]), ("Format judged", told["format"]), ("Task", told["task"])]
    model += [(name, str(about[key])) for name, key in _ABOUT if about.get(key)]
    model += [("Licence", card["licence"] or _NONE)]
    of_data = [("Dataset", data["dataset"]), ("Digest of the dataset", about.get("datasetDigest", ""))]
    of_data += [("Path", data["path"]), ("Rows", str(told["rows"])), ("Label", data["label"])]
    if told["samples"] != told["rows"]:
        of_data.append(("Groups", str(told["samples"])))
    sections = [
        Section("Model", (), [("", ""), *model]),
        Section("Intended use", (card["intendedUse"] or _NONE,)),
        Section("Limits", (card["limits"] or _NONE,)),
        Section("Data it was judged on", (), [("", ""), *((name, text) for name, text in of_data if text)]),
        _metrics(told),
    ]
    if told["slices"]:
        sections.append(_slices(told))
    if told["fairness"]:
        sections.append(_fairness(told))
    for title, key in (("Parameters of the training", "parameters"), ("Metrics of the training", "trainingMetrics")):
        if about.get(key):
            rows = [(str(name), str(value)) for name, value in about[key].items()]
            sections.append(Section(title, (), [("name", "value"), *rows]))
    if told.get("explanations"):
        sections.append(_explanations(told["explanations"]))
    if told["remarks"]:
        sections.append(Section("Remarks", told["remarks"]))
    return sections


_ABOUT = (("Made by", "job"), ("Run in MLflow", "run"))


def _metrics(told: Mapping[str, Any]) -> Section:
    compared = {one["metric"]: one for one in told["comparisons"] if not one["slice"]}
    if told["baselineMetrics"] is None:
        rows = [("metric", "value"), *((_named(told, name), shown(value)) for name, value in told["metrics"].items())]
        sentences = ["There was no earlier version to compare with."] if told["baseline"] is None else []
        return Section("Metrics", sentences, rows)
    table: list[tuple[str, ...]] = [("metric", "value", "baseline", "difference", "interval")]
    for name, value in told["metrics"].items():
        one = compared.get(name, {})
        interval = f"{shown(one['low'])} to {shown(one['high'])}, {one['confidence']:.0%}" if one else ""
        cells = (shown(value), shown(told["baselineMetrics"].get(name)), shown(one.get("difference")), interval)
        table.append((_named(told, name), *cells))
    baseline = told["baseline"] or {}
    version = f"version {baseline.get('version')}" + (f", {baseline['alias']}" if baseline.get("alias") else "")
    sentence = f"The baseline is {version}, on the same rows. The interval is that of the difference."
    return Section("Metrics", (sentence,), table)


def _named(told: Mapping[str, Any], metric: str) -> str:
    """Two cards may have the same metric of one class, and as the mean over all: each says which."""
    return named(metric, told["averaged"]) if told.get("averaged") else metric


def _slices(told: Mapping[str, Any]) -> Section:
    names = list(told["metrics"])
    rows = [
        (one["slice"], str(one["samples"]), *(shown(one["metrics"].get(name)) for name in names))
        for one in told["slices"][:_MOST_SLICES]
    ]
    return Section("Slices", (), [("slice", "samples", *(_named(told, name) for name in names)), *rows])


def _fairness(told: Mapping[str, Any]) -> Section:
    table: list[tuple[str, ...]] = [("column", "metric", "value")]
    for one in told["fairness"]:
        table += [(one["slice"], name, shown(value)) for name, value in one["metrics"].items()]
        for group, shares in one["groups"].items():
            table += [(f"{one['slice']}={group}", name, shown(value)) for name, value in shares.items()]
    return Section("Fairness", (), table)


def _explanations(told: Mapping[str, Any]) -> Section:
    """Which columns matter. What is said of single rows is in files beside the card."""
    sentences: list[str] = []
    if told["rows"]:
        sentences.append(
            f"Of {len(told['rows'])} rows it is explained ({told['method']}, explanations.json) what each value adds "
            f"to the output {told['output']} ({told['is']}), against {told['background']} others. An explanation says "
            "what the model looks at, and not what is true or what would help."
        )
    columns: dict[str, list[str]] = {}
    if importance := told.get("importance"):
        sentences.append(
            f"Permutation importance: by how much {importance['metric']} ({shown(importance['value'])}) gets worse "
            f"where a column is shuffled, over {importance['repeats']} times on {importance['samples']} rows."
        )
        for one in importance["columns"]:
            columns[one["name"]] = [f"{shown(one['mean'])} ± {shown(one['deviation'])}", ""]
    for one in told.get("meanAbsolute", ()):
        columns.setdefault(one["name"], ["", ""])[1] = shown(one["mean"])
    rows = [(name, *cells) for name, cells in columns.items()][:_MOST_SLICES]
    table = [("column", "permutation importance", "mean |attribution|"), *rows] if rows else []
    return Section("Explanations", (*sentences, *told["remarks"], *told["problems"]), table)


def shown(value: Any) -> str:
    """A number as a table has it."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "")


def _in_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", markup.escape(" ".join(text.split()), quote=False))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{markup.escape(cell)}</{tag}>' for cell in cells)}</tr>"

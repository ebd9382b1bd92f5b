"""The release's own servers, for an operator that no chart has started."""

from __future__ import annotations

import json
from typing import Any

import yaml

from headrace_local import paths

_VALUES = paths.REPOSITORY / "charts" / "headrace" / "values.yaml"


def serving_runtimes(**images: str) -> str:
    """servingRuntimes of the chart's values as the operator reads them; `images` by name, with _ for -."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(_VALUES.read_text())["servingRuntimes"]
    for name, image in images.items():
        table[name.replace("_", "-")]["image"] = image
    return json.dumps(table)

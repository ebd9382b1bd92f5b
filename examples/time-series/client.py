"""Shows a week and the model's forecast of the day after it: `python client.py URL MODEL [FILE]`.

URL is where the ModelService answers (its status.url up to /v2). FILE has the last 168 hours in megawatts, one number a
line; without it a week is made up. Needs only Python.
"""

import argparse
import json
import math
import pathlib
import urllib.request

DAY = 24
WINDOW = 7 * DAY


def forecast(url: str, model: str, week: list[float], timeout: float) -> list[float]:
    """The 24 hours after the 168 of the week."""
    tensor = {"name": "week", "datatype": "FP32", "shape": [1, WINDOW], "data": week}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)["outputs"][0]["data"]


def a_week() -> list[float]:
    """Saturday to Friday; what is asked for is a Saturday again."""
    return [
        80
        + 12 * math.sin(2 * math.pi * (hour - 8) / DAY)
        + 5 * math.sin(4 * math.pi * (hour - 2) / DAY)
        - (15 if hour < 2 * DAY else 0)
        for hour in range(WINDOW)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for the request")
    arguments = parser.parse_args()
    week = [float(line) for line in arguments.file.read_text().split()] if arguments.file else a_week()
    if len(week) != WINDOW:
        parser.error(f"a week has {WINDOW} hours, the file {len(week)}")
    day = forecast(arguments.url, arguments.model, week, arguments.timeout)
    print("hour  yesterday  forecast (MW)")
    for hour, (before, expected) in enumerate(zip(week[-DAY:], day)):
        print(f"{hour:4}  {before:9.1f}  {expected:8.1f}  {'#' * round(expected / 2)}")


if __name__ == "__main__":
    main()

"""Reads digits that are drawn as text: `python client.py URL MODEL [FILE]`.

URL is where the ModelService answers (its status.url up to /v2). FILE has digits of eight lines of eight characters
each, with an empty line in between; the darker a character, the more ink: space or `.`, `-`, `+`, `#`. Without a file
three digits from here are read. Needs only Python.
"""

import argparse
import json
import pathlib
import urllib.request

INK = {" ": 0, ".": 0, "-": 5, "+": 11, "#": 16}
EXAMPLES = """\
..-##-..
.-#+-#..
.##..#+.
.#+..+#.
.#-..-#.
.#-..##.
.-#+##-.
..-##+..

...-#+..
..-##+..
.+###-..
.-+##-..
...##-..
...##-..
...##-..
...-##..

..+##-..
.-#++#-.
....-#-.
...-##..
...-+#+.
.....-#-
.-+..+#.
..+##+-.
"""


def probabilities(url: str, model: str, pictures: list[list[list[int]]], timeout: float) -> list[list[float]]:
    """For each picture of 8 x 8 numbers from 0 to 16 the probability of each digit."""
    numbers = [ink for picture in pictures for row in picture for ink in row]
    tensor = {"name": "image", "datatype": "FP32", "shape": [len(pictures), 8, 8, 1], "data": numbers}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        answer = json.load(response)["outputs"][0]["data"]
    return [answer[at : at + 10] for at in range(0, len(answer), 10)]


def picture_of(drawing: str) -> list[list[int]]:
    rows = [[INK[character] for character in line.ljust(8)] for line in drawing.splitlines()]
    if len(rows) != 8 or any(len(row) != 8 for row in rows):
        raise ValueError(f"a digit has eight lines of eight characters:\n{drawing}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for the request")
    arguments = parser.parse_args()
    text = arguments.file.read_text(encoding="utf-8") if arguments.file else EXAMPLES
    drawings = [drawing.strip("\n") for drawing in text.split("\n\n") if drawing.strip()]
    try:
        pictures = [picture_of(drawing) for drawing in drawings]
    except (KeyError, ValueError) as error:
        parser.error(f"cannot be read as a drawing: {error}")
    for drawing, chances in zip(drawings, probabilities(arguments.url, arguments.model, pictures, arguments.timeout)):
        best, second = sorted(range(10), key=lambda digit: -chances[digit])[:2]
        print(f"{drawing}\nthis is a {best} ({chances[best]:.0%}), perhaps a {second} ({chances[second]:.0%})\n")


if __name__ == "__main__":
    main()

"""Finds the caption that fits a picture best: `python client.py URL MODEL ["a bold three" "a thin three" ...]`.

URL is where the ModelService answers (its status.url up to /v2). Without captions it asks for "a zero" to "a nine".
Needs only Python.
"""

import argparse
import json
import urllib.request
import zlib

# As in train.py.
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LENGTH = 5
VOCABULARY = 1024

INK = {".": 0, "-": 5, "+": 11, "#": 16}
PICTURES = """\
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


def tokens_of(text: str) -> list[int]:
    """A number for each word, as train.py makes it."""
    numbers = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in text.lower().split()][:LENGTH]
    return numbers + [0] * (LENGTH - len(numbers))


def similarities(url: str, model: str, picture: list[int], captions: list[str], timeout: float) -> list[float]:
    """How well each of the captions fits the picture, from -1 to 1."""
    rows = len(captions)
    words = [token for caption in captions for token in tokens_of(caption)]
    tensors = [
        {"name": "image", "datatype": "FP32", "shape": [rows, 8, 8, 1], "data": picture * rows},
        {"name": "caption", "datatype": "INT32", "shape": [rows, LENGTH], "data": words},
    ]
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": tensors}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)["outputs"][0]["data"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("captions", nargs="*", help="in the words of train.py: the model knows no others")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    arguments = parser.parse_args()
    captions = arguments.captions or [f"a {number}" for number in NUMBERS]
    for drawing in PICTURES.strip().split("\n\n"):
        picture = [INK[character] for line in drawing.splitlines() for character in line]
        found = similarities(arguments.url, arguments.model, picture, captions, arguments.timeout)
        ranked = sorted(zip(found, captions), reverse=True)[:2]
        print(f"{drawing}\n{', then '.join(f'{caption} ({near:.2f})' for near, caption in ranked)}\n")


if __name__ == "__main__":
    main()

"""Draws digits from words, one request a step: `python client.py URL MODEL ["a seven" "a bold three" ...]`.

URL is where the ModelService answers (its status.url up to /v2). Needs only Python.
"""

import argparse
import json
import math
import random
import urllib.request
import zlib

# As in train.py.
LENGTH = 5
VOCABULARY = 1024


def tokens_of(text: str) -> list[int]:
    """A number for each word, as train.py makes it."""
    numbers = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in text.lower().split()][:LENGTH]
    return numbers + [0] * (LENGTH - len(numbers))


def below_the_noise(
    url: str, model: str, pictures: list[list[float]], share: float, texts: list[str], timeout: float
) -> list[list[float]]:
    """The pictures without their noise, of which they are the share, as the model sees them for these words."""
    rows = len(pictures)
    pixels = [pixel for picture in pictures for pixel in picture]
    words = [token for text in texts for token in tokens_of(text)]
    tensors = [
        {"name": "picture", "datatype": "FP32", "shape": [rows, 8, 8, 1], "data": pixels},
        {"name": "noise", "datatype": "FP32", "shape": [rows, 1], "data": [share] * rows},
        {"name": "caption", "datatype": "INT32", "shape": [rows, LENGTH], "data": words},
    ]
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": tensors}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        answer = json.load(response)["outputs"][0]["data"]
    return [answer[at : at + 64] for at in range(0, len(answer), 64)]


def step(picture: list[float], clean: list[float], now: float, then: float) -> list[float]:
    """The picture with less noise: what is clean in it, and the same noise at the smaller angle."""
    return [
        math.cos(then) * below + math.sin(then) * (pixel - math.cos(now) * below) / math.sin(now)
        for pixel, below in zip(picture, clean)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("texts", nargs="*", default=["a seven", "a bold three", "a thin zero"], help="what to draw")
    parser.add_argument("--steps", type=int, default=20, help="requests")
    parser.add_argument("--guidance", type=float, default=1.5, help="how much the words count; 1: as learned")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    arguments = parser.parse_args()
    texts, draw = arguments.texts, random.Random(arguments.seed)
    pictures = [[draw.gauss(0, 1) for _ in range(64)] for _ in texts]
    for left in range(arguments.steps, 0, -1):
        # With the words and without them, in one request: the way from the one to the other is gone further.
        share, both = left / arguments.steps, texts + [""] * len(texts)
        found = below_the_noise(arguments.url, arguments.model, pictures * 2, share, both, arguments.timeout)
        now, then = (math.pi / 2 * at / arguments.steps for at in (left, left - 1))
        for row, (guided, free) in enumerate(zip(found, found[len(texts) :])):
            clean = [
                min(max(without + arguments.guidance * (pixel - without), -1), 1)
                for pixel, without in zip(guided, free)
            ]
            pictures[row] = step(pictures[row], clean, now, then)
    for text, picture in zip(texts, pictures):
        ink = [" .-+#"[min(int((pixel + 1) * 2.5), 4)] * 2 for pixel in picture]
        print(f"{text}\n" + "\n".join("".join(ink[at : at + 8]).rstrip() for at in range(0, 64, 8)) + "\n")


if __name__ == "__main__":
    main()

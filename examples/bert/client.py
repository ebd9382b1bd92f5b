"""Asks what reviews think of a film: `python client.py URL MODEL ["the plot was not dull" ...]`.

URL is where the ModelService answers (its status.url up to /v2). Needs only Python.
"""

import argparse
import json
import urllib.request
import zlib

# As in train.py.
LENGTH = 18
VOCABULARY = 2048
START, END, FIRST = 1, 2, 3

REVIEWS = [
    "the plot was not really dull and the camera was superb",
    "the plot was superb although the camera was not really dull",
    "the acting was brilliant but the ending was very tedious",
    "the acting was tedious but the ending was very brilliant",
]


def tokens_of(text: str) -> list[int]:
    """What begins a text, a number for each word, what ends it: as train.py makes them."""
    words = [FIRST + zlib.crc32(word.encode()) % (VOCABULARY - FIRST) for word in text.lower().split()]
    numbers = [START, *words[: LENGTH - 2], END]
    return numbers + [0] * (LENGTH - len(numbers))


def good(url: str, model: str, reviews: list[str], timeout: float) -> list[float]:
    """For each review the probability that it recommends the film."""
    numbers = [token for review in reviews for token in tokens_of(review)]
    tensor = {"name": "tokens", "datatype": "INT32", "shape": [len(reviews), LENGTH], "data": numbers}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)["outputs"][0]["data"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("reviews", nargs="*", help="in the words of train.py: the model knows no others")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for the request")
    arguments = parser.parse_args()
    reviews = arguments.reviews or REVIEWS
    for review, chance in zip(reviews, good(arguments.url, arguments.model, reviews, arguments.timeout)):
        print(f"{'good' if chance > 0.5 else 'bad ':4}  {max(chance, 1 - chance):4.0%} sure  {review}")


if __name__ == "__main__":
    main()

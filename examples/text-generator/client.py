"""Writes text with a served model, one request a word: `python client.py URL MODEL "this licence applies to"`.

URL is where the ModelService answers (its status.url up to /v2). Needs vocab.json from prepare.py, and only Python.
"""

import argparse
import json
import pathlib
import random
import re
import urllib.request

NO_SPACE_BEFORE = set(".,;:!?)]}'\"")
NO_SPACE_AFTER = set("([{")


def next_probabilities(url: str, model: str, tokens: list[int], timeout: float) -> list[float]:
    """One inference: the probability of each word of the vocabulary to come next."""
    tensor = {"name": "tokens", "datatype": "INT32", "shape": [1, len(tokens)], "data": tokens}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)["outputs"][0]["data"]


def choose(probabilities: list[float], temperature: float) -> int:
    """A random word, a likely one; with temperature 0 the likeliest. Never word 0, which stands for unknown ones."""
    candidates = range(1, len(probabilities))
    if temperature == 0:
        return max(candidates, key=lambda i: probabilities[i])
    return random.choices(candidates, weights=[probabilities[i] ** (1 / temperature) for i in candidates])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("start", nargs="?", default="this licence applies to", help="the first words")
    parser.add_argument("--words", type=int, default=40, help="how many to add")
    parser.add_argument("--window", type=int, default=20, help="how many words the model looks back")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--vocabulary", type=pathlib.Path, default=pathlib.Path("vocab.json"))
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    arguments = parser.parse_args()
    if not arguments.vocabulary.is_file():
        parser.error(
            f"there is no {arguments.vocabulary}: prepare.py writes it beside the corpus; --vocabulary names it"
        )
    vocabulary = json.loads(arguments.vocabulary.read_text(encoding="utf-8"))
    index = {word: i for i, word in enumerate(vocabulary)}
    words = re.findall(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]", arguments.start.lower())
    if not words:
        parser.error("start needs at least one word")
    tokens = [index.get(word, 0) for word in words]
    print(arguments.start, end="", flush=True)
    before = words[-1]
    for _ in range(arguments.words):
        window = tokens[-arguments.window :]
        probabilities = next_probabilities(arguments.url, arguments.model, window, arguments.timeout)
        token = choose(probabilities[: len(vocabulary)], arguments.temperature)
        tokens.append(token)
        word = vocabulary[token]
        space = "" if word in NO_SPACE_BEFORE or before in NO_SPACE_AFTER else " "
        print(space + word, end="", flush=True)
        before = word
    print()


if __name__ == "__main__":
    main()

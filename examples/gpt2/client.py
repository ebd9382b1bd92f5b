"""Writes text with a served model, one request a byte: `python client.py URL MODEL "The statement "`.

URL is where the ModelService answers (its status.url up to /v2). Needs only Python.
"""

import argparse
import codecs
import json
import random
import urllib.request


def next_probabilities(url: str, model: str, tokens: list[int], timeout: float) -> list[float]:
    """The probability of each of the 256 bytes to come next."""
    tensor = {"name": "tokens", "datatype": "INT32", "shape": [1, len(tokens)], "data": tokens}
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
    parser.add_argument("start", nargs="?", default="The statement ", help="how the text begins")
    parser.add_argument("--bytes", type=int, default=200, help="how many to add")
    parser.add_argument("--context", type=int, default=48, help="how many bytes the model looks back")
    parser.add_argument("--temperature", type=float, default=0.5, help="above 0; the lower, the likelier the text")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    tokens = list(arguments.start.encode())
    if not tokens:
        parser.error("start needs at least one character")
    print(arguments.start, end="", flush=True)
    letters = codecs.getincrementaldecoder("utf-8")("replace")  # a letter may be several bytes
    for _ in range(arguments.bytes):
        seen = tokens[-arguments.context :]
        chances = next_probabilities(arguments.url, arguments.model, seen, arguments.timeout)
        weights = [chance ** (1 / arguments.temperature) for chance in chances]
        tokens.append(draw.choices(range(len(chances)), weights)[0])
        print(letters.decode(bytes(tokens[-1:])), end="", flush=True)
    print(letters.decode(b"", final=True))


if __name__ == "__main__":
    main()

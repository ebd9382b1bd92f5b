"""Makes noisy signals and asks for their shapes: `python client.py URL MODEL`.

URL is where the ModelService answers (its status.url up to /v2). Needs only Python.
"""

import argparse
import json
import math
import random
import urllib.request

STEPS = 40
SHAPES = {
    "sine": lambda turn: math.sin(2 * math.pi * turn),
    "square": lambda turn: 1.0 if turn < 0.5 else -1.0,
    "sawtooth": lambda turn: 2 * turn - 1,
    "triangle": lambda turn: 1 - 4 * abs(turn - 0.5),
}
BARS = "▁▂▃▄▅▆▇█"


def probabilities(url: str, model: str, signals: list[list[float]], timeout: float) -> list[list[float]]:
    """For each signal of STEPS numbers the probability of each shape."""
    numbers = [value for signal in signals for value in signal]
    tensor = {"name": "signal", "datatype": "FP32", "shape": [len(signals), STEPS, 1], "data": numbers}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        answer = json.load(response)["outputs"][0]["data"]
    return [answer[at : at + len(SHAPES)] for at in range(0, len(answer), len(SHAPES))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--noise", type=float, default=0.1, help="the model was trained with 0.1")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for the request")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    signals = []
    for form in SHAPES.values():
        phase, period = draw.random(), draw.uniform(10, 20)
        signals.append([form((phase + step / period) % 1) + draw.gauss(0, arguments.noise) for step in range(STEPS)])
    answers = probabilities(arguments.url, arguments.model, signals, arguments.timeout)
    for shape, signal, chances in zip(SHAPES, signals, answers):
        bars = "".join(BARS[min(7, max(0, int((value + 1) * 4)))] for value in signal)
        best = max(range(len(SHAPES)), key=lambda i: chances[i])
        print(f"{bars}  {shape:8}  the model says: {list(SHAPES)[best]} ({chances[best]:.0%})")


if __name__ == "__main__":
    main()

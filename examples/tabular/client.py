"""Asks about tumours by their 30 measurements: `python client.py URL MODEL [FILE]`.

URL is where the ModelService answers (its status.url up to /v2); both models of this example are asked in the same way.
FILE has a tumour a line, its numbers with commas in between, in the order of scikit-learn's breast_cancer; without it
two are asked about that neither model was trained with. Needs only Python.
"""

import argparse
import json
import pathlib
import urllib.request

FEATURES = 30
EXAMPLES = """\
17.08,27.15,111.2,930.9,0.09898,0.111,0.1007,0.06431,0.1793,0.06281,0.9291,1.152,6.051,115.2,0.00874,0.02219,0.02721,\
0.01458,0.02045,0.004417,22.96,34.49,152.1,1648.0,0.16,0.2444,0.2639,0.1555,0.301,0.0906
13.9,19.24,88.73,602.9,0.07991,0.05326,0.02995,0.0207,0.1579,0.05594,0.3316,0.9264,2.056,28.41,0.003704,0.01082,0.0153,\
0.006275,0.01062,0.002217,16.41,26.42,104.4,830.5,0.1064,0.1415,0.1673,0.0815,0.2356,0.07603
"""


def benign(url: str, model: str, rows: list[list[float]], timeout: float) -> list[float]:
    """For each row the probability that the tumour is benign."""
    numbers = [number for row in rows for number in row]
    tensor = {"name": "features", "datatype": "FP32", "shape": [len(rows), FEATURES], "data": numbers}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    # The network says the one probability, the trees those of malignant and benign.
    return outputs["benign"] if "benign" in outputs else outputs["probabilities"][1::2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for the request")
    arguments = parser.parse_args()
    text = arguments.file.read_text(encoding="utf-8") if arguments.file else EXAMPLES
    rows = [[float(number) for number in line.split(",")] for line in text.split()]
    if any(len(row) != FEATURES for row in rows):
        parser.error(f"each line has {FEATURES} numbers")
    for row, chance in zip(rows, benign(arguments.url, arguments.model, rows, arguments.timeout)):
        verdict = "benign" if chance > 0.5 else "malignant"
        print(f"mean radius {row[0]:5.2f}, worst area {row[23]:6.1f}: {verdict} ({max(chance, 1 - chance):.1%})")


if __name__ == "__main__":
    main()

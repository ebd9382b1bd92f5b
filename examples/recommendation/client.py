"""Recommends films to users: `python client.py URL MODEL [USER ...]`, one request a user.

URL is where the ModelService answers (its status.url up to /v2). Needs only Python.
"""

import argparse
import json
import urllib.request

# As in train.py.
USERS, FILMS = 400, 200
GENRES = ["comedy", "crime", "drama", "fantasy", "horror", "western"]


def scores(url: str, model: str, user: int, films: list[int], timeout: float) -> list[float]:
    """How well each of the films fits the user, from 0 to 1."""
    tensors = [
        {"name": "user", "datatype": "INT32", "shape": [len(films), 1], "data": [user] * len(films)},
        {"name": "film", "datatype": "INT32", "shape": [len(films), 1], "data": films},
    ]
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v2/models/{model}/infer",
        data=json.dumps({"inputs": tensors}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)["outputs"][0]["data"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("users", nargs="*", type=int, default=[7, 8, 9], help=f"0 to {USERS - 1}")
    parser.add_argument("--films", type=int, default=5, help="how many to recommend")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one request")
    arguments = parser.parse_args()
    for user in arguments.users:
        if user not in range(USERS):
            parser.error(f"there are users 0 to {USERS - 1}")
        found = scores(arguments.url, arguments.model, user, list(range(FILMS)), arguments.timeout)
        best = sorted(range(FILMS), key=lambda film: -found[film])[: arguments.films]
        films = ", ".join(f"film {film} ({GENRES[film % len(GENRES)]}, {found[film]:.2f})" for film in best)
        print(f"user {user}: {films}")


if __name__ == "__main__":
    main()

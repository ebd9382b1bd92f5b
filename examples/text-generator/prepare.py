"""Turns texts into the numbers that train.py reads: `python prepare.py --output=corpus.npz [TEXT ...]`.

Words and punctuation marks are tokens. Each example is a window of tokens, its label the token that follows. The
texts are cut into blocks, of which one in ten is for validation and one for the test, so that no window is in two of
them. Beside the .npz lies vocab.json, the list of all tokens. Needs numpy only; without texts it takes the licences
that are on every Debian machine.
"""

import argparse
import collections
import json
import pathlib
import re

import numpy as np

LICENCES = pathlib.Path("/usr/share/common-licenses")
UNKNOWN = "<unknown>"
VOCABULARY = 10000
BLOCK = 500


def tokenize(text: str) -> list[str]:
    """Lower-case words, numbers and single punctuation marks."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]", text.lower())


def read(paths: list[pathlib.Path]) -> list[str]:
    """The tokens of all texts; a text that is there under two names counts once."""
    texts = dict.fromkeys(path.read_text(encoding="utf-8", errors="replace") for path in sorted(paths))
    return [token for text in texts for token in tokenize(text)]


def windows(numbers: np.ndarray, length: int, stride: int, part: range) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `length` numbers, and the number after each, from the blocks whose index mod 10 lies in `part`."""
    blocks = [numbers[at : at + BLOCK] for i, at in enumerate(range(0, len(numbers), BLOCK)) if i % 10 in part]
    rows = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(b, length + 1)[::stride] for b in blocks if len(b) > length]
    )
    return rows[:, :-1].astype("int32"), rows[:, -1].astype("int32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="*", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("corpus.npz"))
    parser.add_argument("--length", type=int, default=20, help="tokens in a window")
    parser.add_argument("--stride", type=int, default=3, help="tokens between the beginnings of two windows")
    arguments = parser.parse_args()
    tokens = read(arguments.texts or [path for path in LICENCES.iterdir() if path.is_file()])
    common = [word for word, _ in collections.Counter(tokens).most_common(VOCABULARY - 1)]
    vocabulary = [UNKNOWN, *common]
    index = {word: i for i, word in enumerate(vocabulary)}
    numbers = np.array([index.get(token, 0) for token in tokens], dtype="int32")
    arrays = {}
    for name, part in {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}.items():
        arrays[f"{name}_data"], arrays[f"{name}_labels"] = windows(numbers, arguments.length, arguments.stride, part)
    np.savez_compressed(arguments.output, **arrays)
    vocabulary_file = arguments.output.with_name("vocab.json")
    vocabulary_file.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    sizes = ", ".join(f"{len(arrays[f'{name}_data'])} {name}" for name in ("train", "validation", "test"))
    print(
        f"{len(tokens)} tokens, {len(vocabulary)} words; windows: {sizes}; see {arguments.output} and {vocabulary_file}"
    )


if __name__ == "__main__":
    main()

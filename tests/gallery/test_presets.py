"""bert and gpt2 begin with weights that the job gets as a dataset: a folder with a tiny model and its tokenizer, as
KerasHub keeps them. Where KerasHub is not installed (scripts/environment gallery) nothing of it is run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gallery.rows import EXAMPLES

SECONDS = 600
BERT = """
words = "the plot acting music dialogue ending camera script cast was not really and but although dull lovely".split()
tokenizer = keras_hub.models.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
backbone = keras_hub.models.BertBackbone(vocabulary_size=tokenizer.vocabulary_size(), max_sequence_length=18, **SIZES)
"""
GPT2 = """
from tokenizers.pre_tokenizers import ByteLevel
vocabulary = {"<|endoftext|>": 0, "th": 1, "the": 2}
for character in sorted(ByteLevel.alphabet()):
    vocabulary[character] = len(vocabulary)
tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary, ["t h", "th e"])
backbone = keras_hub.models.GPT2Backbone(vocabulary_size=len(vocabulary), max_sequence_length=32, **SIZES)
"""
# Then the example itself, in the same process: KerasHub is imported once. An argument `/` stands for the next run's.
RUN = """
import runpy, sys
import keras_hub
SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
{made}
backbone.save_to_preset("preset")
tokenizer.save_to_preset("preset")
for arguments in " ".join(sys.argv[1:]).split(" / "):
    sys.argv[1:] = ["--preset=preset", *arguments.split()]
    try:
        found = runpy.run_path({program!r})
    except SystemExit as stopped:
        print("STOPPED", stopped.code, flush=True)
    else:
        print("KNOWS", found["backbone"].vocabulary_size, found["tokens_of"]("the"), flush=True)
"""


def said(folder: Path, example: str, made: str, *runs: str) -> str:
    """What the example prints when it begins with a preset that the code has made."""
    pytest.importorskip("keras_hub", reason="scripts/environment gallery")
    program = RUN.replace("{made}", made).replace("{program!r}", repr(str(EXAMPLES / example / "train.py")))
    command = [sys.executable, "-c", program, *" / ".join(runs).split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.timeout(SECONDS)
def test_gpt2_begins_with_the_weights_and_the_tokens_of_a_preset(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("the")
    trained, too_long, too_short = "--context=24 --batches=2 --epochs=1", "--context=33", "--data=short.txt --context=8"

    printed = said(tmp_path, "gpt2", GPT2, trained, too_long, too_short)

    assert "the token after a full window: loss" in printed
    assert "KNOWS 259 [2]" in printed
    assert "--context is 33, and this GPT-2 has 32 positions" in printed
    assert "a part of the text has 1 tokens, no window of 8 fits into it" in printed
    assert printed.count("STOPPED 2") == 2


@pytest.mark.timeout(SECONDS)
def test_bert_begins_with_the_weights_and_the_tokens_of_a_preset(tmp_path: Path) -> None:
    printed = said(tmp_path, "bert", BERT, "--epochs=1 --reviews=128")

    assert "test: loss" in printed
    assert "KNOWS 22 [2, 5, 3, 0," in printed

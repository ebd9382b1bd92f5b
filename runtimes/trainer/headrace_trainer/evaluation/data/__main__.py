"""Prints the columns of a file, as a list in JSON: python -m headrace_trainer.evaluation.data FILE. By the
libraries that an evaluation reads it with, in a process of its own: a launcher has none of them in memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from headrace_trainer.evaluation.data.read import names_in

print(json.dumps(names_in(Path(sys.argv[1]))))

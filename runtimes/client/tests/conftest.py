"""The client as a script has it: it is installed in the trainer's image, and not here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

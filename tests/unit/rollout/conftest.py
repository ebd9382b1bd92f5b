"""The analysis reads what our servers write: its tests use the servers' own metrics."""

import sys
from pathlib import Path

RUNTIMES = Path(__file__).resolve().parents[3] / "runtimes"
sys.path += [str(RUNTIMES / "onnxruntime"), str(RUNTIMES / "text"), str(RUNTIMES / "serving")]

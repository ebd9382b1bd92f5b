"""The analysis reads what the ONNX server writes: its tests use the server's own metrics."""

import sys
from pathlib import Path

RUNTIMES = Path(__file__).resolve().parents[3] / "runtimes"
sys.path += [str(RUNTIMES / "onnxruntime"), str(RUNTIMES / "serving")]

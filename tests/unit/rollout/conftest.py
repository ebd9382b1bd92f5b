"""The analysis reads what the ONNX server writes: its tests use the server's own metrics."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "runtimes" / "onnxruntime"))

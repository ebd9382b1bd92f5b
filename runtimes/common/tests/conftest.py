"""The package under test is the one beside these tests; in a pod it lies in /opt/headrace."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

"""What the launcher has to know of a framework, a row each. How a framework is followed is its adapter's business, in
the script's own process.
"""

from __future__ import annotations

from headrace_trainer.launcher.frameworks.keras import KERAS
from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.script import SCRIPT

__all__ = ["FRAMEWORKS", "KERAS", "SCRIPT", "Framework"]

FRAMEWORKS = {framework.name: framework for framework in (KERAS, SCRIPT)}

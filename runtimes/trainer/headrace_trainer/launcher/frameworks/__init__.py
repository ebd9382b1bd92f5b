"""What the launcher has to know of a framework, a row each. How a framework is followed is its adapter's business, in
the script's own process.
"""

from __future__ import annotations

from headrace_common.protocol.config import Config
from headrace_trainer.launcher.failures.judge import Failed, bad_config
from headrace_trainer.launcher.frameworks.keras import KERAS
from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.script import SCRIPT

__all__ = ["Framework", "framework_of"]

_FRAMEWORKS = {framework.name: framework for framework in (KERAS, SCRIPT)}


def framework_of(config: Config) -> Framework:
    """The row that a configuration names. Raises Failed (BadConfig) where there is none."""
    found = _FRAMEWORKS.get(config.framework)
    if found is None:
        known = " or ".join(_FRAMEWORKS)
        raise Failed(bad_config(f"HEADRACE_CONFIG.framework must be {known}; it is {config.framework!r}"))
    return found

"""Run by each Python that a program of `framework: Script` starts, before anything of its own: the launcher puts this
folder first on PYTHONPATH. When mlflow has been imported, what is logged goes into the job's run (mlflow_run.py),
and what is registered is left out (mlflow_registry.py).

Until then it costs a comparison an import. The Python may be another one than the launcher's (3.8 or later), with
nothing of Headrace installed: what is needed is loaded from its file. Whatever goes wrong here is told and ignored.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the module typing would be imported by each Python that starts
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_ADAPTERS = os.path.join(os.path.dirname(os.path.dirname(_HERE)), "adapters")


class _BeforeMlflow:
    """Makes place, at the first sight of mlflow, for the finder that waits for its import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "mlflow" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        try:
            finder = _load("imports").AfterImport({"mlflow": _follow}, _tell)
        except Exception as error:  # noqa: BLE001 - no reason to fail the program
            _tell(name, error)
            return None
        sys.meta_path.insert(0, finder)
        found: ModuleSpec | None = finder.find_spec(name, path, target)
        return found


def _follow() -> None:
    run_id, tracking_uri = os.environ.get("MLFLOW_RUN_ID"), os.environ.get("MLFLOW_TRACKING_URI")
    if run_id and tracking_uri:
        say = _load("streams").say
        _load("mlflow_run").install(run_id, tracking_uri, say)
        _load("mlflow_registry").install(tracking_uri, say)


def _tell(name: str, error: Exception) -> None:
    from contextlib import suppress

    version = getattr(sys.modules.get(name), "__version__", "of an unknown version")
    with suppress(Exception):
        sys.stderr.write(
            f"headrace: {name} {version} cannot be followed ({type(error).__name__}: {error}): only what is logged "
            "without set_experiment, and without a second start_run, goes into the job's run\n"
        )


def _load(name: str) -> Any:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("_headrace_" + name, os.path.join(_ADAPTERS, name + ".py"))
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_the_next() -> None:
    """The sitecustomize that this one stands before: of the system, of a virtual environment."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = sys.modules["sitecustomize"] = module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _BeforeMlflow())
    # The program finds its path as it would be without this folder.
    sys.path[:] = [path for path in sys.path if not path or os.path.abspath(path) != _HERE]
    _run_the_next()

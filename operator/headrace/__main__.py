"""`python -m headrace`: the operator. `python -m headrace release-pods`: lets all held pods go, after an uninstall."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from headrace.main import operate
from headrace.settings import Settings, SettingsError, namespaces
from headrace.uninstall import release_pods


def main() -> int:
    """Exit code 0 after an orderly stop, 2 when the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m headrace", description="The Headrace operator.")
    parser.add_argument("command", nargs="?", choices=("operate", "release-pods"), default="operate")
    parser.add_argument("--kubeconfig", type=Path, help="outside a cluster: the kubeconfig to use")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=os.environ.get("HEADRACE_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if arguments.command == "release-pods":
        asyncio.run(release_pods(arguments.kubeconfig, namespaces(os.environ)))
        return 0
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    asyncio.run(operate(settings, arguments.kubeconfig))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m headrace_local up`: the same as `headrace local up`, without the operator's package."""

from __future__ import annotations

import argparse
import sys

from headrace_local.command import Command


def main() -> int:
    command = Command()
    parser = argparse.ArgumentParser(prog="headrace local", description=command.help)
    command.configure(parser)
    return command.run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())

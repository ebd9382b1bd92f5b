"""The program `headrace`, also as `kubectl headrace`: finds the sub-commands and turns their failures into one line.

Exit codes: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted, 141 nobody reads the output any more.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path

from headrace.cli.act import ACTS
from headrace.cli.approval import APPROVE, REFUSE
from headrace.cli.command import GROUP, Command, load
from headrace.cli.errors import CommandError
from headrace.cli.example import ExampleCommand
from headrace.cli.model import ModelCommand
from headrace.cli.tenant import TenantCommand

INTERRUPTED = 130
NOBODY_READS = 141


class VersionCommand:
    name = "version"
    help = "print the version"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """No arguments."""

    def run(self, args: argparse.Namespace) -> int:
        print(f"headrace {version('headrace')}")
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    try:
        commands: list[Command] = [
            TenantCommand(),
            ExampleCommand(),
            ModelCommand(),
            APPROVE,
            REFUSE,
            *ACTS,
            *load(entry_points(group=GROUP)),
            VersionCommand(),
        ]
        args = parser(commands).parse_args(argv)
        code: int = args.command.run(args)
        sys.stdout.flush()
    except CommandError as error:
        # One line, whatever a server's message looks like.
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `headrace ... | head`
        # Python's own flush at exit would say it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return code


def parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=_program(), description="Train, track and roll out models on Kubernetes.")
    choices = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in commands:
        own = choices.add_parser(command.name, help=command.help, description=f"{command.help}.")
        command.configure(own)
        own.set_defaults(command=command)
    return top


def _program() -> str:
    """As a kubectl plugin the program is called kubectl-headrace, but typed with a space."""
    return "kubectl headrace" if Path(sys.argv[0]).name == "kubectl-headrace" else "headrace"


if __name__ == "__main__":
    sys.exit(main())

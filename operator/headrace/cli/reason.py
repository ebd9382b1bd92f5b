"""Why a person does something: the text of `--reason`, as it is kept with what was done."""

import argparse

from headrace.cli.errors import USAGE, CommandError

MAX_REASON = 1024


def reason_of(args: argparse.Namespace) -> str:
    """In one line; empty where there is none. Raises CommandError."""
    reason = " ".join(args.reason.split())
    if len(reason) > MAX_REASON:
        raise CommandError(f"--reason has {len(reason)} characters, at most {MAX_REASON} are kept", USAGE)
    return reason

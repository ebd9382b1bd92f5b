"""What the command lines of the servers have in common: how a bad flag is told, and what a flag's value may be.

Which flags there are, their names and defaults, is each server's own: its settings.py.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from headrace_serving.failures import Reason, StartError


class Parser(argparse.ArgumentParser):
    """Raises StartError(BadConfig) where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise StartError(Reason.BAD_CONFIG, message, "`--help` lists the flags.")


def port_number(text: str) -> int:
    """A type for argparse, as the others here."""
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 s and a day")
    return number


def name(text: str) -> str:
    if not text or "/" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a part of a URL")
    return text

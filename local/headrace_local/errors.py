"""The one error that people are meant to read: what is wrong, where, and what to do."""

from __future__ import annotations


class LocalClusterError(Exception):
    """Something that the user can act on; its text says how."""

"""Errors a person can act on: each names the thing, what was found, what is allowed and what to do."""

from __future__ import annotations

__all__ = ["DataError", "InputError", "SampleUnavailable", "SkiagraphError"]


class SkiagraphError(Exception):
    """A failure with a message for the user; commands print it without a traceback and exit with `exit_code`."""

    exit_code: int = 1


class InputError(SkiagraphError):
    """An argument, option or configuration key is wrong."""

    exit_code = 2


class DataError(SkiagraphError):
    """A file is missing, unreadable, of another format, or its content cannot be used."""

    exit_code = 3


class SampleUnavailable(SkiagraphError):
    """A pinned sample archive cannot be had from the package registries or fails its checksum."""

    exit_code = 4

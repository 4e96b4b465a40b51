"""Errors a user can act on: every message says what was found, what is allowed and what to do."""

from __future__ import annotations


class SRLError(Exception):
    """Base of every error this package raises on purpose; the command line prints it without a traceback."""


class ConfigError(SRLError):
    """A recipe or a command-line option that cannot be used as it stands."""


class DataError(SRLError):
    """A file, row or record that cannot be read or does not hold what is needed."""


class SamplingError(SRLError):
    """Dynamic sampling reached its cap without a single group to train on."""


class RewardError(SRLError):
    """A reward that raised, or returned something that is not a finite number. Never turned into a reward of 0."""


class RunDirError(SRLError):
    """A run folder that exists already, is incomplete, or does not belong to this recipe."""


def require(condition: bool, message: str) -> None:
    """Raises ValueError, which reading a recipe turns into a ConfigError with the key in front."""
    if not condition:
        raise ValueError(message)

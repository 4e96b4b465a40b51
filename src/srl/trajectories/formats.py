"""The formats of expert data, by name, in the order in which ``auto`` tries them.

A format is a module with two functions: ``matches`` tells from a row's content, cheaply, whether the row is of this
format; ``parse`` gives its trajectories. File names never matter: the same log may be called .traj, .json or .jsonl.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from srl.errors import ConfigError
from srl.trajectories.agents import (
    anthropic,
    chat,
    mini_swe_agent,
    openai_chat,
    openai_responses,
    openhands,
    openhands_llm_log,
    swe_agent,
    swe_smith,
)
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions import gsm8k, plain, samples, traces, zeroeval
from srl.types import DroppedRow, Trajectory


class Format(Protocol):
    """What a format's module offers."""

    def matches(self, value: JsonObject, /) -> bool:
        """Whether a row is of this format. Total: any object is allowed."""
        ...

    def parse(self, row: Row, settings: ReadSettings, /) -> Iterable[Trajectory | DroppedRow]:
        """The trajectories in a row, usually one. Raises RowError where the row as a whole cannot be used."""
        ...


FORMATS: dict[str, Format] = {
    "openhands": openhands,
    "swe-agent": swe_agent,
    "mini-swe-agent": mini_swe_agent,
    "openai-responses": openai_responses,
    "openhands-llm-log": openhands_llm_log,
    "anthropic": anthropic,
    "openai-chat": openai_chat,
    "swe-smith": swe_smith,
    "gsm8k": gsm8k,
    "zeroeval": zeroeval,
    "samples": samples,
    "traces": traces,
    "chat": chat,
    "rows": plain,  # any object with a problem and a solution: last, because it refuses nothing
}


def check_format(name: str) -> None:
    """Raise ConfigError unless ``name`` is that of a format, or "auto"."""
    if name not in ("auto", *FORMATS):
        raise ConfigError(f"--format {name!r} is unknown; use auto, {', '.join(FORMATS)}")


def format_of(value: JsonObject) -> str:
    """The name of the first format that ``value`` matches; "rows" where no other does."""
    return next((name for name, module in FORMATS.items() if module.matches(value)), "rows")

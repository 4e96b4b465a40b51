"""Episodes as logs that ``srl decompose`` and ``srl train`` read: mini-swe-agent's format, one JSON object per line.

The commands stand where version 2 of that format has them (``extra.actions``), what came back in the messages of the
tool, and a thought, where there is one, in the agent's message beside the command.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from srl.tasks.shell.scripts import SUBMIT

_VERSION = "mini-swe-agent-1.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One action and what came back."""

    thought: str
    """What was thought before it."""
    action: str
    """The command."""
    observation: str
    """Its output, without the line break at its end; "" after the last action, which is not run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """An agent's work on one problem."""

    episode_id: str
    """The id of the trajectory."""
    problem: str
    """The instruction."""
    turns: tuple[Turn, ...]
    """In order."""
    is_solved: bool
    """Whether the folder was as expected in the end."""


def write_logs(path: Path, episodes: Iterable[Episode], *, with_thoughts: bool) -> None:
    """Write one log per line; without thoughts the agent's messages are empty beside their commands."""
    rows = (_log(episode, with_thoughts) for episode in episodes)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _log(episode: Episode, with_thoughts: bool) -> dict[str, object]:
    messages: list[dict[str, object]] = [{"role": "user", "content": episode.problem}]
    for turn in episode.turns:
        messages.append(_call(turn, with_thoughts))
        messages.append({"role": "tool", "content": turn.observation})
    if episode.turns[-1].action == SUBMIT:
        messages[-1] |= {"role": "exit", "extra": {"exit_status": "Submitted"}}
    return {
        "traj_id": episode.episode_id,
        "problem_statement": episode.problem,
        "resolved": episode.is_solved,
        "messages": messages,
        "trajectory_format": _VERSION,
    }


def _call(turn: Turn, with_thoughts: bool) -> dict[str, object]:
    thought = turn.thought if with_thoughts else ""
    return {"role": "assistant", "content": thought, "extra": {"actions": [{"command": turn.action}]}}

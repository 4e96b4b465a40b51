"""The set of (action, target) pairs of agents of ``similarities.py``: commands and tool calls, all labels certain.

Every target is a real action. One of its two actions does the same, written otherwise (``SAME_*``); the other does
something else and is written nearly alike (``OTHER_*``).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from similarity_pairs import Change, LabelledPair

from srl.trajectories.agents.actions import render_call, split_calls
from srl.trajectories.reader import read_trajectories
from srl.types import Trajectory

SEED = 20261126
NUM_TARGETS = 80
"""Of commands, and of tool calls."""
_PATH = re.compile(r"(?<![\w./*-])/?(?:[\w-]+/)+[\w-]+\.\w+(?![\w/*])")
_COMMAND = re.compile(r"(?:cd|ls|grep|cat|nl|sed|find|python3?|git|head|tail|wc|pytest|rm|mkdir) ")
_PROGRAMS = {"grep": "sed", "cat": "rm", "ls": "cat", "sed": "grep", "nl": "wc", "find": "ls", "python": "bash"}
_MORE = "# the lines below are part of the same file\n"


_TWO_FLAGS = re.compile(r"(?:(?<=\bls )|(?<=\bgrep )|(?<=\bwc )|(?<=\brm ))-([rnilwEvHRah])([rnilwEvHRah])(?= )")
"""Two flags without values, of programs that take them together."""


def flags_split(rng: random.Random, text: str) -> str | None:
    """``-la`` as ``-l -a``."""
    return _TWO_FLAGS.sub(r"-\1 -\2", text)


def flags_moved(rng: random.Random, text: str) -> str | None:
    """``ls -l src`` as ``ls src -l``."""
    return re.sub(r"\b(ls|grep|cat|wc) (-[rnilwEvHRah]+) ([^|;&<>\n-]+?)(?= *(?:$|[|;&<>\n]))", r"\1 \3 \2", text)


def quotes_changed(rng: random.Random, text: str) -> str | None:
    """``'x'`` as ``"x"``, or the other way round, where nothing in it means anything to the shell."""
    quotes = {character for character in text if character in "'\"\\"}
    if len(quotes) != 1 or "\\" in quotes:
        return None
    (quote,) = quotes
    return re.sub(rf"{quote}([^{quote}$`!\n]*){quote}", r'"\1"' if quote == "'" else r"'\1'", text)


def path_respelled(rng: random.Random, text: str) -> str | None:
    """``a/b.py`` as ``./a/b.py``."""
    return re.sub(r"(?<= )(?=(?:[\w-]+/)+[\w-]+\.\w+(?: |$))", "./", text)


def other_file(rng: random.Random, text: str) -> str | None:
    """Another file of the same folder."""
    paths = list(_PATH.finditer(text))
    if not paths:
        return None
    path = rng.choice(paths).group()
    folder, _, name = path.rpartition("/")
    return text.replace(path, f"{folder}/{'base' if name.startswith('utils') else 'utils'}.{name.rpartition('.')[2]}")


def other_program(rng: random.Random, text: str) -> str | None:
    """Another program with the same arguments."""
    called = re.search(r"(?:(?<=^)|(?<=&& )|(?<=\| ))(" + "|".join(_PROGRAMS) + r")(?= )", text)
    return text[: called.start()] + _PROGRAMS[called[1]] + text[called.end() :] if called else None


def other_number(rng: random.Random, text: str) -> str | None:
    """One digit of a number is another one."""
    numbers = list(re.finditer(r"(?<![\w.-])\d+(?![\w.])", text))
    if not numbers:
        return None
    place = rng.choice(numbers).end() - 1
    return text[:place] + str((int(text[place]) + rng.randrange(1, 10)) % 10) + text[place + 1 :]


def parameters_reordered(rng: random.Random, text: str) -> str | None:
    """The same arguments, the last one first."""
    _, ((name, values),) = split_calls(text)
    return render_call(name, dict(reversed(values.items()))) if isinstance(values, dict) else None


def as_json(rng: random.Random, text: str) -> str | None:
    """The same call as JSON."""
    _, ((name, values),) = split_calls(text)
    return json.dumps({"name": name, "arguments": values})


def more_context(rng: random.Random, text: str) -> str | None:
    """An edit that quotes one more line, which stays as it is."""
    changed = re.sub(r"(<parameter=(?:old|new)_str(?:ing)?>\n)", rf"\1{_MORE}", text)
    return changed if changed.count(_MORE) == 2 else None


def other_tool(rng: random.Random, text: str) -> str | None:
    """Another tool with the same arguments."""
    return re.sub(r"^<function=\w+>", "<function=open_file>", text)


def other_value(rng: random.Random, text: str) -> str | None:
    """One digit, or else one letter of the last value, is another one."""
    changed = other_number(rng, text)
    if changed is not None:
        return changed
    letters = list(re.finditer(r"[a-z](?=[^<>]*\n</parameter>\n</function>)", text))
    if not letters:
        return None
    place = letters[-1].start()
    return text[:place] + ("z" if text[place] != "z" else "y") + text[place + 1 :]


SAME_COMMAND: tuple[Change, ...] = (flags_split, flags_moved, quotes_changed, path_respelled)
OTHER_COMMAND: tuple[Change, ...] = (other_file, other_program, other_number)
SAME_CALL: tuple[Change, ...] = (parameters_reordered, as_json, more_context)
OTHER_CALL: tuple[Change, ...] = (other_file, other_value, other_tool)


def pairs_of(
    actions: Sequence[str], same: Sequence[Change], other: Sequence[Change], rng: random.Random
) -> list[LabelledPair]:
    """Two pairs for each of ``NUM_TARGETS`` actions, all kinds equally often as far as there are actions for them."""
    pairs: list[LabelledPair] = []
    left = rng.sample(list(actions), len(actions))
    for turn in range(NUM_TARGETS):
        right, wrong = same[turn % len(same)], other[(turn + turn // len(same)) % len(other)]
        for target in left:
            variants = right(rng, target), wrong(rng, target)
            if None not in variants and target not in variants:
                break
        else:
            continue
        left.remove(target)
        for variant, change in zip(variants, (right, wrong), strict=True):
            pairs.append(
                LabelledPair(
                    action=str(variant), target=target, is_equal=change is right, kind=change.__name__, cluster=target
                )
            )
    return pairs


def agent_pairs(data: Path) -> tuple[list[LabelledPair], list[LabelledPair]]:
    """The sets of commands and of tool calls."""
    rng = random.Random(SEED)
    actions = sorted(
        {
            step.text
            for item in read_trajectories(str(data / "swe"))
            if isinstance(item, Trajectory)
            for step in item.steps
            if step.text
        }
    )
    calls = [text for text in actions if text.startswith("<function=") and len(split_calls(text)[1]) == 1]
    commands = [text for text in actions if _COMMAND.match(text) and text.count("\n") < 10]
    return pairs_of(commands, SAME_COMMAND, OTHER_COMMAND, rng), pairs_of(calls, SAME_CALL, OTHER_CALL, rng)

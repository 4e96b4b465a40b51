"""docs/diagnosis.md tells of every signal and every warning, with the numbers that are used."""

from __future__ import annotations

import re
from pathlib import Path

from srl.diagnosis.equality import HIGH_REWARD, LOW_REWARD
from srl.diagnosis.sample import MAX_FILES, MAX_GROUPS
from srl.diagnosis.signals_over_time import LABELS
from srl.signals.actions import COPY_SIMILARITY, COVERAGE, SEVERAL_SIMILARITY
from srl.signals.measures import JUNK_LENGTH
from srl.signals.watch import LENGTH_ROOM, MIN_MONOLOGUE, MIN_ROLLOUTS, MUCH_WORSE, RULES

PAGE = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text("utf-8")
TEXT = " ".join(PAGE.split())


def rows(heading: str) -> list[list[str]]:
    table = PAGE.split(heading, 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[1:]]


def test_every_signal_is_explained() -> None:
    table = rows("| line | metric | what it is | what to do |")[1:]
    assert [(cells[0], cells[1].strip("`")) for cells in table] == [(label, metric) for label, metric, _ in LABELS]


def test_every_warning_is_explained_with_its_threshold() -> None:
    table = rows("| code | when | why there |")[1:]
    assert [cells[0].strip("`") for cells in table] == [rule.code for rule in RULES]
    for cells, rule in zip(table, RULES, strict=True):
        assert re.search(rf"(?<![\d.]){rule.threshold:g}(?![\d.]*\d)", cells[1]), rule.code


def test_the_other_numbers_are_those_that_are_used() -> None:
    for phrase in (
        f"at least {COPY_SIMILARITY} similar",
        f"at least {SEVERAL_SIMILARITY} similar",
        f"with {COVERAGE:.0%} of the characters".replace("%", " %"),
        f"of {JUNK_LENGTH} characters or more",
        f"at least {MIN_ROLLOUTS} rollouts",
        f"worse by {MUCH_WORSE}",
        f"shorter than 1/{LENGTH_ROOM}",
        f"at least {MIN_MONOLOGUE} characters",
        f"At most {MAX_FILES} updates",
        f"at most {MAX_GROUPS} groups",
        f"a reward from {HIGH_REWARD} on",
        f"a reward up to {LOW_REWARD},",
    ):
        assert phrase in TEXT, phrase

"""Agreement with 910 published verdicts, and docs/grading.md lists every disagreement."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srl.rewards.final_answer import final_answer
from srl.rewards.outcome import grade_many

PAGE = Path(__file__).parents[2] / "docs" / "grading.md"
FILES = {
    "qwen": ("math/qwen25math_cot_8samples.jsonl", "response", 560, 0.99),
    "skyt1": ("math/skyt1_27b_math500.jsonl", "code", 350, 0.98),
}
Disagreement = tuple[str, int, int, str, str, str, str, str]
"""File, row, sample, against, answer found, reference, ours, published."""
VERDICT = {True: "right", False: "wrong"}


def disagreements(path: Path, name: str, against: str) -> list[Disagreement]:
    """Every sample by the same rule: the last number counts where no answer is marked, as it did in the package."""
    _, texts, num_samples, _ = FILES[name]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    samples = [
        (row["idx"], index, text, row[against] or row["answer"], is_right)  # one reference is empty in gt
        for row in rows
        for index, (text, is_right) in enumerate(zip(row[texts], row["score"], strict=True))
    ]
    assert len(samples) == num_samples
    grades = grade_many([(text, reference) for _, _, text, reference, _ in samples], unmarked="last_number")
    return [
        (name, row, index, against, final_answer(text, unmarked="last_number") or "", reference,
         VERDICT[bool(grade)], VERDICT[is_right])
        for (row, index, text, reference, is_right), grade in zip(samples, grades, strict=True)
        if grade is not is_right
    ]  # fmt: skip


def listed() -> Iterator[Disagreement]:
    table = PAGE.read_text(encoding="utf-8").partition("Every disagreement")[2]
    for line in re.findall(r"^\| (?:qwen|skyt1) \|.*\|$", table, re.MULTILINE):
        name, row, samples, against, answer, reference, ours, published, who = [
            cell.strip() for cell in line.strip("|").split("|")
        ]
        assert who.startswith(("ours: ", "the published verdict: "))
        first, _, last = samples.partition("-")
        for sample in range(int(first), int(last or first) + 1):
            for reference_field in against.split(", "):
                key = (name, int(row), sample, reference_field)
                yield *key, answer.strip("`"), reference.strip("`"), ours, published


@pytest.mark.parametrize("name", FILES)
def test_verdicts_agree_and_every_disagreement_is_listed(name: str, shared_data: Callable[[str], Path]) -> None:
    file, _, num_samples, bar = FILES[name]
    found = {against: disagreements(shared_data(file), name, against) for against in ("gt", "answer")}
    assert 1 - len(found["gt"]) / num_samples >= bar  # what the verdicts were made with
    assert 1 - len(found["answer"]) / num_samples >= 0.98
    assert sorted(item for item in listed() if item[0] == name) == sorted([*found["gt"], *found["answer"]])
    page = PAGE.read_text(encoding="utf-8")
    for items in found.values():
        num_agreed = num_samples - len(items)
        assert f"| {num_agreed} ({100 * num_agreed / num_samples:.1f} %) " in page


def test_the_numbers_without_the_last_number(shared_data: Callable[[str], Path]) -> None:
    rows = [json.loads(line) for line in shared_data(FILES["skyt1"][0]).read_text(encoding="utf-8").splitlines()]
    grades = grade_many([(row["code"][0], row["answer"]) for row in rows])
    num_agreed = sum(grade is row["score"][0] for grade, row in zip(grades, rows, strict=True))
    num_unmarked = sum(final_answer(row["code"][0]) is None for row in rows)
    page = PAGE.read_text(encoding="utf-8")
    assert f"{num_agreed} of the 350 verdicts are the same" in page
    assert f"{num_unmarked} mark no answer" in page

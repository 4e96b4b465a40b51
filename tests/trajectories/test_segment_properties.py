"""What holds for any text, and what real files become."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.segment import SPLITTERS, Segmentation, segment, split_steps
from srl.trajectories.settings import ReadSettings

SETTINGS = [
    ReadSettings(),
    ReadSettings(min_step_chars=0, max_step_chars=0),
    ReadSettings(min_step_chars=0, max_step_chars=1),
    ReadSettings(min_step_chars=5, max_step_chars=30),
    ReadSettings(min_step_chars=300, max_step_chars=300),
]
# Pieces that texts without neat numbers are made of, so that hypothesis meets the branches and not only the characters.
PIECES = st.sampled_from(
    [
        "1. ", "2. ", "3) ", "**", "**Title.** ", "**T:**\n", "Step 1: ", "### Step 2", "# X\n", "## Y\n", "\n", "\n\n",
        "\r\n", "   ", "\t", "\\[", "\\]", "$$", "$", "\\(", "\\)", "`", "```\n", "[asy]", "[/asy]", "\\begin{align}",
        "\\end{align}", "\\begin{proof}\n", "\\end{proof}", "\\item ", "x = 1", ":", ". ", "! ", "。", "Case 1: ",
        "\nCase 2. ", "- a ", "\n- b", "* ", "(a) ", "\n(b) ", "(i) ", "\nii) ", "We show that it is so. ", "e.g. ",
        "A. ", "---\n", "\\boxed{3}", "∎", "\\section{S}", "\\textbf{B.}", "|", "where ", "(", ")", "\x0b", "\u2028",
        "\x00", "\ud800",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=60).map("".join))


@given(TEXTS, st.sampled_from(SETTINGS))
def test_any_text_joins_back_and_no_step_is_blank(text: str, settings: ReadSettings) -> None:
    found = segment(text, settings)
    assert "".join(step.text for step in found.steps) == text
    assert all(step.text.strip() for step in found.steps) or not text.strip()
    assert all(step.body in step.text for step in found.steps)
    assert found.splitter in SPLITTERS if len(found.steps) > 1 else found.splitter == ""
    assert segment(text, settings) == found


@given(TEXTS)
def test_titled_numbers_are_cut_as_split_steps_does(text: str) -> None:
    found = segment(text, ReadSettings(max_step_chars=0))
    if found.splitter == "titled-numbers":
        assert found.steps == split_steps(text)


@pytest.mark.parametrize(
    "piece",
    [
        "$", "$x ", "\\begin{", "\\begin{a}", "\\begin{a}\n", "\\end{a}", "`", "```\n", "1. ", "1. 1. 1.", "1. a\n",
        "- a\n\nB\n\n", "# a\n\n", "**a**\n", "(", "\\[", "\\(", "\\[x\\]\n", ". ", ".", "!", "A. ", "。", " ",
        "Aa bb. ", "Case 1: a\n", ":\n\n- a\n\n", "\\boxed{}}", "\\textbf{", "e.g. ", "\n",
    ],
)  # fmt: skip
def test_time_is_linear_on_hostile_text(piece: str) -> None:
    """Four times the text takes at most about four times as long; quadratic work would take sixteen."""

    def seconds(length: int) -> float:
        text = "a" + piece * (length // len(piece))
        start = time.process_time()
        segment(text, SETTINGS[0])
        return time.process_time() - start

    assert seconds(40_000) < 10 * seconds(10_000) + 0.5


def solutions(path: Path, kind: str) -> list[str]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if kind == "proof":
        return [row["model_prediction"]["proof"] for row in rows]
    if kind == "gt_cot":
        return [row["gt_cot"] for row in rows]
    if kind == "sky":
        block = re.compile(r"<\|begin_of_solution\|>(.*?)<\|end_of_solution\|>", re.DOTALL)
        return [found[1] for row in rows if (found := block.search(row["code"][0]))]
    if kind == "zeroeval":
        field = re.compile(r'"reasoning"\s*:\s*"(.*)"\s*,\s*"answer"', re.DOTALL)
        found = [field.search(row["output"][0]) for row in rows]
        # Roughly what the reader does: enough to look at the shape of the text.
        return [re.sub(r"\\n(?![a-z])", "\n", match[1]).replace("\\\\", "\\") for match in found if match]
    return [row["solution"] for row in rows]


FILES = [
    ("amc_aime_solutions", "solution", 0.97),
    ("openthoughts_math_solutions", "solution", 0.90),
    ("deepseekmathv2_imo_proofbench_basic", "proof", 0.90),
    ("deepseekmathv2_putnam2024", "proof", 0.90),
    ("skyt1_27b_math500", "sky", 0.95),
    ("skyt1_27b_math500", "gt_cot", 0.80),
    ("zeroeval_mathl5_grok2", "zeroeval", 0.95),
    ("zeroeval_mathl5_o1mini", "zeroeval", 0.95),
    ("zeroeval_mathl5_claude35sonnet", "zeroeval", 0.95),
    ("minerva_math", "solution", 0.50),
]


@pytest.fixture(scope="module")
def real(shared_data: Callable[[str], Path]) -> dict[tuple[str, str], list[tuple[str, Segmentation]]]:
    return {
        (name, kind): [
            (text, segment(text, SETTINGS[0])) for text in solutions(shared_data(f"math/{name}.jsonl"), kind)
        ]
        for name, kind, _ in FILES
    }


Real = dict[tuple[str, str], list[tuple[str, Segmentation]]]


@pytest.mark.parametrize(("name", "kind", "least"), FILES)
def test_share_of_real_solutions_with_two_steps(real: Real, name: str, kind: str, least: float) -> None:
    found = [segmentation for _, segmentation in real[name, kind]]
    assert sum(len(segmentation.steps) > 1 for segmentation in found) >= least * len(found)


def test_splitters_of_the_amc_and_aime_solutions(real: Real) -> None:
    counts = Counter(found.splitter for _, found in real["amc_aime_solutions", "solution"])
    assert counts == {
        "titled-numbers": 1866, "paragraphs": 65, "headings": 54, "plain-numbers": 41, "bold-lines": 8, "bullets": 1,
    }  # fmt: skip


def test_real_steps_tear_nothing(real: Real) -> None:
    """Formulas, environments, bold text and code that are balanced in the text are balanced in every step."""
    pairs = [(r"\[", r"\]"), (r"\(", r"\)"), (r"\begin{", r"\end{"), ("[asy]", "[/asy]")]
    for text, found in (row for rows in real.values() for row in rows):
        for step in found.steps:
            for opener, closer in pairs:
                if text.count(opener) == text.count(closer):
                    assert step.text.count(opener) == step.text.count(closer), step.text
            for mark in ("$$", "**", "```"):
                if text.count(mark) % 2 == 0:
                    assert step.text.count(mark) % 2 == 0, step.text


def test_real_steps_are_actions(real: Real) -> None:
    """No answer, heading or introduction stands alone, and none begins in the middle of a sentence."""
    for _, found in (row for rows in real.values() for row in rows):
        for index, step in enumerate(found.steps):
            text = step.text.strip()
            if found.splitter == "titled-numbers" or len(found.steps) == 1:
                continue
            assert not re.fullmatch(r"\W*\\boxed\{.*\}\W*|#+ .*|\*\*.*\*\*", text)
            assert found.splitter == "plain-numbers" or len(text) >= SETTINGS[0].min_step_chars
            if index and found.splitter in {"paragraphs", "sentences"}:
                assert not re.match(r"[a-z]{2,} ", text)
                assert not found.steps[index - 1].text.rstrip().endswith(":")


def test_real_steps_are_not_too_long(real: Real) -> None:
    """What is longer holds no place to cut: one formula, or one sentence."""
    steps = [step.text for rows in real.values() for _, found in rows for step in found.steps if len(found.steps) > 1]
    assert len(steps) > 20_000
    assert sum(len(text) > 2000 for text in steps) <= 2

"""What did the reward pay for?: the same numbers as `srl diagnose`, drawn, with examples."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import HOSTILE, assert_self_contained, read_page

from srl.diagnosis.diagnose import diagnose_run
from srl.report.bars import BarRow, bar_rows
from srl.report.facts import recipe_rows
from srl.report.reward_section import NUM_EXAMPLES, reward_view
from srl.saved_run.load import load_run
from srl.saved_run.settings import stage_settings


def test_the_section_of_a_whole_run(new_run: Callable[..., Path]) -> None:
    page = read_page(new_run(reward={"outcome": "gate", "autojunk": True}))
    assert_self_contained(page)
    for text in (
        "What did the reward pay for?",
        "Warnings of the training",
        "Update 3: 40% of the actions are copies.",
        "1,600 saved rollouts in 160 groups",
        "Reward and result",
        "Reward by length",
        "Shortcuts",
        "Monologue",
        "False negatives: of the rewards up to 0.5",
        "led to a right final answer",
        "Autojunk: reward by the characters",
        "Saved rollouts without a reward: ",
        "Repeats an earlier step",
        "Holds the next step, too",
        "The expert's result, and hardly paid",
    ):
        assert text in page.text, text


def test_the_numbers_are_those_of_the_diagnosis(run_dir: Path) -> None:
    run = load_run(run_dir)
    stage = diagnose_run(run, num_examples=NUM_EXAMPLES)[0]
    view = reward_view(stage, run.updates["srl"], stage_settings(run.config, "srl"))
    row = next(row for row in view.signals if row.label == "near-copies of an earlier step")
    copies = next(signal for signal in stage.signals if signal.label == row.label)
    assert copies.mean is not None
    assert copies.saved is not None
    assert row.mean.replace("\N{NO-BREAK SPACE}", " ") == f"{100 * copies.mean:.1f} %"
    assert row.saved.endswith(f"[{100 * copies.saved.low:.0f} to {100 * copies.saved.high:.0f}]")
    assert stage.equality is not None
    assert view.statements[0].startswith(f"{stage.equality.num_judged:,} actions have a result to compare")
    assert len(view.examples) == len(stage.examples)


def test_marks_are_what_the_reward_counts_and_in_a_copy_what_it_repeats(new_run: Callable[..., Path]) -> None:
    def marked(name: str, **reward: Any) -> dict[str, list[bool]]:
        run = load_run(new_run(name, reward=reward))
        stage = diagnose_run(run, num_examples=1)[0]
        view = reward_view(stage, run.updates["srl"], stage_settings(run.config, "srl"))
        return {
            shown.example.kind: [any(piece.size for piece in pieces) for _, pieces, _ in shown.texts]
            for shown in view.examples
        }

    by_sequence, by_words = marked("a"), marked("b", similarity="words")
    assert by_sequence["false_positive"] == [True, True]
    assert by_sequence["several_steps"] == [True, True, False]
    assert by_words["false_positive"] == [False, False]
    assert by_sequence["copy"] == by_words["copy"] == [False, True, True]


def test_a_similarity_without_blocks_marks_nothing_and_says_so(new_run: Callable[..., Path]) -> None:
    path = new_run(reward={"similarity": "words"}, is_old=True)
    page = read_page(path)
    assert page.marked == []
    assert "Marked" not in page.text
    assert "similarity words; −1 for a broken format" in page.text


@pytest.mark.parametrize(
    ("reward", "shown"),
    [
        ({"format_penalty": -1.0}, "similarity of (action, target), autojunk off; −1 for a broken format"),
        (
            {"similarity": {"sequence": 3, "math": 1}, "first_argument": "target", "autojunk": True},
            "similarity 0.75 of sequence of (target, action), autojunk on and 0.25 of math; −1 for a broken format",
        ),
        (
            {"similarity": "my.module:fn", "thresholds": [0.2, 0.8], "outcome": "gate", "outcome_weight": 0.5},
            "similarity my.module:fn; 0 up to 0.2, 1 from 0.8 on; a wrong final answer takes away 0.5 of it; "
            "−1 for a broken format",
        ),
        (
            {"outcome": "blend", "outcome_weight": 0.25, "format_penalty": 0.0},
            "similarity of (action, target), autojunk off; blended with the final answer, which counts 0.25; "
            "0 for a broken format",
        ),
    ],
)
def test_the_recipe_tells_the_whole_reward(reward: dict[str, Any], shown: str) -> None:
    rows = recipe_rows({"stages": {"s": {"kind": "srl", "reward": reward}}})
    assert next(row.values for row in rows if row.label == "Reward") == (shown,)


def test_hostile_warnings_reasons_and_signals_are_escaped(run_dir: Path) -> None:
    with (run_dir / "warnings.jsonl").open("a") as file:
        file.write(json.dumps({"stage": "srl", "update": 1, "code": HOSTILE, "message": HOSTILE}) + "\n")
    for path in (run_dir / "rollouts").glob("srl-*"):
        groups = [json.loads(line) for line in path.read_text().splitlines()]
        for group in groups:
            group["ungraded"][0]["reason"] = HOSTILE
            group["step"]["context"] = [HOSTILE * 2]
            group["rollouts"][-1] |= {"action": HOSTILE * 2}
        path.write_text("".join(json.dumps(group) + "\n" for group in groups))
    page = read_page(run_dir)
    assert_self_contained(page)
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "Repeats an earlier step" in page.text


@given(
    st.lists(
        st.builds(
            BarRow,
            label=st.text(max_size=20),
            parts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
            note=st.text(max_size=9),
            interval=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_bar_stays_inside_of_its_drawing(rows: list[BarRow]) -> None:
    drawing = bar_rows(rows, top=1.0, axis_label="<b>", description="d")
    height = float(re.findall(r' height="([\d.]+)"', drawing)[0])
    for x, y, width in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', drawing):
        assert 136 <= float(x) <= float(x) + float(width) <= 286.1
        assert 0 <= float(y) <= height
    assert "<b>" not in drawing

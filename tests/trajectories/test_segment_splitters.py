"""Which splitter serves which text, and where it cuts."""

from __future__ import annotations

import pytest

from srl.errors import ConfigError
from srl.trajectories.segment import SPLITTERS, segment
from srl.trajectories.settings import ReadSettings

SETTINGS = ReadSettings()
LONG = "This sentence says something about the numbers $a$ and $b$. "
"""60 characters: more than the least, and one sentence."""


def pieces(text: str, settings: ReadSettings = SETTINGS) -> list[str]:
    return [step.text for step in segment(text, settings).steps]


def titles(text: str) -> list[str]:
    return [step.title for step in segment(text, SETTINGS).steps]


def body(number: int) -> str:
    return f"Here the argument number {number} is made, at some length."


SERVES: list[tuple[str, str, list[str]]] = [
    ("titled-numbers", f"1. **A** {body(1)}\n\n2. **B** {body(2)}", ["A", "B"]),
    ("titled-numbers", f"Step 1: {body(1)}\nStep 2: {body(2)}", ["", ""]),
    ("plain-numbers", f"1. {body(1)}\n\n2. {body(2)}\n\n3. {body(3)}", ["", "", ""]),
    ("plain-numbers", f"Let's go step by step:\n1) {body(1)}\n   - inner\n2) {body(2)}\n3) {body(3)}", ["", "", ""]),
    ("plain-numbers", f"1) {body(1)}\n    2) {body(2)}\n    3) {body(3)}", ["", "", ""]),
    ("headings", f"### Set-up\n{body(1)}\n### **Counting:**\n{body(2)}\n", ["Set-up", "Counting"]),
    ("headings", f"\\section*{{Set-up}}\n{body(1)}\n\\section*{{Counting}}\n{body(2)}\n", ["Set-up", "Counting"]),
    ("headings", f"# Proof\n## Case $x=1$\n{body(1)}\n### inner\nx\n## Case 2\n{body(2)}", ["Case $x=1$", "Case 2"]),
    ("headings", f"## Case 1\n1. {body(1)}\n2. x\n## Case 2\n1. {body(2)}\n2. x", ["Case 1", "Case 2"]),
    ("bold-lines", f"**Proof.** {body(1)}\n\n**Points $M$ and $N$.**\n{body(2)}", ["Proof", "Points $M$ and $N$"]),
    ("bold-lines", f"**Case 1:** {body(1)}\n**Case 2**: {body(2)}", ["Case 1", "Case 2"]),
    ("bold-lines", f"\\textbf{{Proof.}} {body(1)}\n\n\\textbf{{End}}: {body(2)}", ["Proof", "End"]),
    ("labels", f"Case 1: {body(1)}\n\nCase 2 ($x > 0$): {body(2)}", ["Case 1", "Case 2 ($x > 0$)"]),
    ("labels", f"Lemma 1. {body(1)}\n\nLemma 2. {body(2)}", ["Lemma 1", "Lemma 2"]),
    ("letters", f"(a) {body(1)}\n(b) {body(2)}\n\n(c) {body(3)}", ["", "", ""]),
    ("letters", f"(i) {body(1)}\n\n(ii) {body(2)}\n\n(iii) {body(3)}", ["", "", ""]),
    ("bullets", f"- {body(1)}\n- {body(2)}\n- {body(3)}", ["", "", ""]),
    ("bullets", f"\\begin{{itemize}}\n\\item {body(1)}\n\\item {body(2)}\n\\end{{itemize}}", ["", ""]),
    ("paragraphs", f"{body(1)}\n\n{body(2)}", ["", ""]),
    ("sentences", f"{body(1)} {body(2)}", ["", ""]),
    ("sentences", "我们首先把两个方程相加，得到第一个未知数的值等于三，这一步没有任何困难，因为两个系数正好互相抵消。"
     "然后把这个值代入第二个方程，得到第二个未知数的值等于二，这样整个方程组就全部解出来了，答案是唯一的。", ["", ""]),
    ("", "One sentence that is as long as it is, with $x = 0.5$, e.g. this, and no place to cut it in two", [""]),
    ("", "   \n\n", [""]),
]  # fmt: skip


@pytest.mark.parametrize(("splitter", "text", "expected"), SERVES)
def test_which_splitter_serves(splitter: str, text: str, expected: list[str]) -> None:
    found = segment(text, SETTINGS)
    assert (found.splitter, [step.title for step in found.steps]) == (splitter, expected)
    assert "".join(step.text for step in found.steps) == text


def test_every_splitter_has_a_case() -> None:
    assert {splitter for splitter, _, _ in SERVES if splitter} == set(SPLITTERS)


def test_empty_text() -> None:
    assert segment("", SETTINGS).steps == ()


def test_bodies_come_without_the_sign() -> None:
    text = f"### Set-up\n{body(1)}\n### Counting\n{body(2)}"
    assert [step.body for step in segment(text, SETTINGS).steps] == [body(1), body(2)]
    text = f"(a) {body(1)}\n(b) {body(2)}"
    assert [step.body for step in segment(text, SETTINGS).steps] == [body(1), body(2)]
    text = f"**Case 1:** {body(1)}\n**Case 2**: {body(2)}"
    assert [step.body for step in segment(text, SETTINGS).steps] == [body(1), body(2)]


@pytest.mark.parametrize(
    "inner",
    [
        "1. $a + b = 3$\n2. $a - b = 1$",
        "- $a$ is the first,\n- $b$ is the second.",
        "(i) $a > 0$\n(ii) $b > 0$",
    ],
)
def test_a_list_inside_the_text_stays_with_its_introduction(inner: str) -> None:
    text = f"{LONG * 3}\n\nWe have the following:\n{inner}\n\n{LONG * 3}\n\n{LONG * 3}"
    found = segment(text, SETTINGS)
    assert found.splitter == "paragraphs"
    assert any(f"We have the following:\n{inner}\n" in step.text for step in found.steps)


def test_text_before_and_after_a_list() -> None:
    """The colon's sentence goes with the first item, what stands before it and after the list are steps."""
    items = [f"{number}. {body(number)} {LONG}\n" for number in (1, 2, 3)]
    text = f"{LONG}The cases are these:\n{''.join(items)}\nTogether these three cases give the number 57.\n"
    assert pieces(text) == [
        LONG,
        f"The cases are these:\n{items[0]}",
        items[1],
        f"{items[2]}\n",
        "Together these three cases give the number 57.\n",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG * 8}\n\n### Answer\nThe answer is $5$, as we have seen above, and no other.",
        f"{LONG * 8}\n\n**Remark.** {LONG}\n\n**Answer.** {LONG}",
        f"{LONG * 8}\n\nCase 1: {LONG}\n\nCase 2: {LONG}",
    ],
)
def test_signs_at_the_end_are_not_how_the_text_is_built(text: str) -> None:
    assert segment(text, SETTINGS).splitter == "paragraphs"


@pytest.mark.parametrize(
    "text",
    [
        f"**AM-GM** gives {LONG}\n\n**Therefore** we have {LONG}",
        f"**(A)** {LONG}\n\n**(D)** {LONG}",
        f"Case 1 gives three solutions. {LONG}\n\nCase 2 gives none. {LONG}",
    ],
)
def test_words_that_are_no_titles(text: str) -> None:
    assert segment(text, SETTINGS).splitter == "paragraphs"


def test_a_heading_without_body_is_an_introduction() -> None:
    text = f"**Choices:**\n\n**Choice A:** {LONG}\n\n**Choice B:** {LONG}"
    assert titles(text) == ["Choice A", "Choice B"]
    assert pieces(text)[0].startswith("**Choices:**\n\n**Choice A:**")
    text = f"**Set-up:** {LONG}\n\n{text}"
    assert titles(text) == ["Set-up", "Choice A", "Choice B"]
    assert pieces(text)[1].startswith("**Choices:**\n\n**Choice A:**")


def test_a_long_step_is_cut_by_the_signs_inside_it() -> None:
    """The first part keeps number and title, the others have what they find."""
    inner = f"**Base case.** {LONG * 8}\n\n**Induction step.** {LONG * 8}\n\n"
    text = f"Intro.\n\n1. **A** {inner}2. **B** {LONG}"
    settings = ReadSettings(max_step_chars=600)
    assert [step.title for step in segment(text, settings).steps] == ["A", "Induction step", "B"]
    assert pieces(text, settings)[0] == f"Intro.\n\n1. **A** **Base case.** {LONG * 8}\n\n"
    assert titles(text) == ["A", "B"]
    assert len(pieces(text, ReadSettings(max_step_chars=0))) == 2


def test_a_long_preamble_leaves_the_title_with_its_step() -> None:
    text = f"{LONG * 6}\n\n1. **A** {LONG}\n\n2. **B** {LONG}"
    steps = segment(text, ReadSettings(max_step_chars=300)).steps
    assert [step.title for step in steps][-2:] == ["A", "B"]
    assert steps[-2].text == f"1. **A** {LONG}\n\n"
    assert "".join(step.text for step in steps) == text


def test_limits_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="what is cut would be joined"):
        ReadSettings(min_step_chars=50, max_step_chars=40)
    with pytest.raises(ConfigError, match="0 or more"):
        ReadSettings(min_step_chars=-1)
    assert len(pieces(LONG * 4, ReadSettings(min_step_chars=500, max_step_chars=0))) == 1


def test_titles_with_nothing_under_them_are_no_steps() -> None:
    """The plan of a solution, then the solution: the plan's numbers cut nothing."""
    plan = "1. **Set up the equation**\n2. **Solve it**\n3. **Check the result**"
    prose = (
        "We set $x + 3 = 10$ and call it the equation.\n\nSubtracting three on both sides leaves $x = 7$, as wanted."
    )
    found = segment(f"{plan}\n\n{prose}", ReadSettings())
    assert found.splitter != "titled-numbers"
    assert [step.title for step in segment(f"{plan}: $7 + 3 = 10$", ReadSettings()).steps if step.title] == []
    written = "1. **Set up** $x + 3 = 10$\n2. **Solve it**\n3. **Check** $7 + 3 = 10$"
    assert segment(written, ReadSettings()).splitter == "titled-numbers"

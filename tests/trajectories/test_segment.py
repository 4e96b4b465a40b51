from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.segment import split_steps
from srl.trajectories.segmentation.headers import find_headers

REAL = "math/amc_aime_solutions.jsonl"

# Pieces that real solutions are made of, so that hypothesis meets the branches and not only the characters.
PIECES = st.sampled_from(
    [
        "1. ", "2. ", "3. ", "10. ", "4) ", "1.", "**", "***", "*", "**Title**", "**Title:** ", "Step 1: ", "Step 2: ",
        "### Step 1: A", "### Step 2", "**Step 1:** ", "## 2. B", "\n", "\n\n", "\r\n", "   ", "\t", "\\[", "\\]", "$$",
        "$", "\\(", "\\)", "```", "[asy]", "[/asy]", "\\begin{align}", "\\end{align}", "x = 1", ":", "：", "\\",
        "\u2028", "\x0c", "\x00", "\ud800",
    ]
)  # fmt: skip


def titles(solution: str) -> list[str]:
    return [step.title for step in split_steps(solution)]


HARD_CASES: list[tuple[str, str, list[str]]] = [
    ("plain family", "1. **Set up** x\n\n2. **Solve:** y\n\n3. **Conclude**: z", ["Set up", "Solve", "Conclude"]),
    ("bracket instead of dot", "1) **A** x\n2) **B** y", ["A", "B"]),
    ("number inside the bold", "**1. A** x\n\n**2. B:** y", ["A", "B"]),
    ("number inside the bold, untitled", "**1.** x\n\n**2.** y", ["", ""]),
    ("bold step", "**Step 1: A** x\n\n**Step 2: B** y", ["A", "B"]),
    ("bold step, text after the bold", "**Step 1:** x\n\n**Step 2:** y", ["", ""]),
    ("bold step, colon after the bold", "**Step 1**: x\n\n**Step 2**: y", ["", ""]),
    ("heading step", "### Step 1: A\nx\n\n### Step 2: B:\ny", ["A", "B"]),
    ("heading step with bold", "## **Step 1: A**\nx\n## Step 2: **B**\ny", ["A", "B"]),
    ("heading step without title", "### Step 1\nx\n### Step 2\ny", ["", ""]),
    ("numbered heading", "## 1. A\nx\n## 2. **B**\ny", ["A", "B"]),
    ("plain step", "Step 1: x\nStep 2: y", ["", ""]),
    ("plain step with bold title", "Step 1: **A** x\nStep 2: **B** y", ["A", "B"]),
    ("CRLF", "1. **A**: x\r\n\r\n2. **B**: y\r\n", ["A", "B"]),
    ("no space before the title", "1.**A** x\n2.**B** y", ["A", "B"]),
    ("text before and after", "Let us see.\n\n1. **A** x\n\n2. **B** y\n\nDone.", ["A", "B"]),
    ("everything indented", "    1. **A** x\n       1. **no** y\n    2. **B** z", ["A", "B"]),
    ("one stray space", "1. **A** x\n 2. **B** y\n3. **C** z", ["A", "B", "C"]),
    ("two-digit numbers", "\n".join(f"{n}. **T{n}** x" for n in range(1, 13)), [f"T{n}" for n in range(1, 13)]),
    # Titles
    ("title with a formula", "1. **Find $x * y$ and $2^{**}$** a\n2. **Take \\(a**b\\)** c",
     ["Find $x * y$ and $2^{**}$", "Take \\(a**b\\)"]),
    ("money is no formula", "1. **Cost $5** or **US$6** x\n2. **B** y", ["Cost $5", "B"]),
    ("formula cut by the bold", "1. **Bound $|k| < 200**: a $b$\n2. **B** y", ["Bound $|k| < 200", "B"]),
    ("escaped star", "1. **A \\** b** x\n2. **B** y", ["A \\** b", "B"]),
    ("bold and italic", "1. ***A*** x\n2. ***B*** y", ["A", "B"]),
    ("title over two lines", "1. **Find the\n   sum:** x\n\n2. **B** y", ["Find the sum", "B"]),
    ("title that never closes", "1. **A x\n2. **B** y\n\n3. **C** z", ["", "B", "C"]),
    ("bold in the body", "1. **A** and **1. not this** x\n2. **B** is **bold**", ["A", "B"]),
    ("titles that look like steps", "1. **Step 7 to Step 8:** x\n2. **Step 6 to Step 7:** y",
     ["Step 7 to Step 8", "Step 6 to Step 7"]),
    ("colon of full width", "1. **A：** x\n2. **B**：y", ["A", "B"]),
    # Lists inside a step
    ("indented inner list", "1. **A** x\n   1. **no** y\n   2. **no** z\n\n2. **B** w", ["A", "B"]),
    ("inner list on the top level, plain", "1. **A** x\n1. y\n2. z\n3. w\n\n2. **B** v\n\n3. **C** u", ["A", "B", "C"]),
    ("inner bold list that restarts", "1. **A** x\n1. **no** y\n2. **no** z\n2. **B** w\n3. **C** v", ["A", "B", "C"]),
    ("inner bold list, then a number it would take",
     "1. **A** x\n\n2. **B** y\n\n1. **no** z\n2. **no** w\n\n3. **C** v\n\n4. **D** u", ["A", "B", "C", "D"]),
    ("longer inner bold list",
     "1. **A** x\n\n2. **B** y\n\n1. **no**\n2. **no**\n3. **no**\n\n3. **C** v", ["A", "B", "C"]),
    ("bullets with bold", "1. **A**\n- **Case 1**: x\n* **Case 2**: y\n\n2. **B** z", ["A", "B"]),
    ("step lines inside numbered steps", "1. **A**\nStep 1: x\nStep 2: y\n\n2. **B** z", ["A", "B"]),
    ("bold steps inside numbered steps", "1. **A**\n**Step 1: no**\n**Step 2: no**\n\n2. **B** z", ["A", "B"]),
    ("numbered bold list inside steps", "### Step 1: A\n1. **no** x\n2. **no** y\n\n### Step 2: B\nz", ["A", "B"]),
    ("problem restated as a list", "Given:\n1. x + y = 3\n2. x - y = 1\n\n1. **Add** 2x = 4\n\n2. **Halve** x = 2",
     ["Add", "Halve"]),
    ("facts as a bold list before the steps",
     "1. **Total**: 12\n2. **Cost**: 24\n\n#### Step 1: A\nx\n#### Step 2: B\ny",
     ["A", "B"]),
    # Numbering
    ("second solution",
     "1. **A** x\n\n2. **B** y\n\n#### Solution 2\n1. **no** z\n\n2. **no** w\n\n3. **no** v", ["A", "B"]),
    ("skipped number", "1. **A** x\n2. **B** y\n4. **no** z\n5. **no** w", ["A", "B"]),
    ("repeated number", "1. **A** x\n2. **B** y\n2. **no** z\n3. **C** w", ["A", "B", "C"]),
    ("starts at 2", "2. **no** x\n3. **no** y", [""]),
    ("a step without its bold", "1. **A** x\n\n2. **B** y\n\n3. Therefore z", ["A", "B", ""]),
    ("only the first is bold", "1. **A** x\n\n2. y\n\n3. z", ["A", "", ""]),
    ("numbered paragraphs", "1. x\n\n2. y\n\n3. z", ["", "", ""]),
    ("enumeration", "The cases are\n1. x\n2. y\n3. z\nso 3.", [""]),
    ("year and decimals", "2023. **no** x\n0.85x - 90\n1.5 apples\n12 pears", [""]),
    ("one header only", "1. **A** x", [""]),
    # LaTeX and code
    ("display math", "1. **A**\n\\[\n2. **no** x\n\\]\n2. **B** y", ["A", "B"]),
    ("dollars", "1. **A**\n$$\n2. **no** x\n$$\n2. **B** y", ["A", "B"]),
    ("environment", "1. **A**\n\\begin{align*}\n2. **no**\\\\[2pt]\n\\end{align*}\n2. **B** y", ["A", "B"]),
    ("code", "1. **A**\n```\n2. **no**\n\n```\n2. **B** y", ["A", "B"]),
    ("drawing", "1. **A**\n[asy]\n2. **no**\n\n[/asy]\n2. **B** y", ["A", "B"]),
    ("math that never closes", "1. **A** \\[ x\n\n2. **B** y \\]\n3. **C** $$\n\n4. **D** z", ["A", "B", "C", "D"]),
    ("code that never closes", "1. **A**\n```\n2. **B** y", ["A", "B"]),
    ("line breaks with a skip in a formula", "1. **A** \\[ a \\\\[4pt] b \\]\n2. **B** y", ["A", "B"]),
    ("escaped dollars", "1. **A** \\$$5 x\n2. **B** y", ["A", "B"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("solution", "expected"), [case[1:] for case in HARD_CASES], ids=[case[0] for case in HARD_CASES]
)
def test_titles_of_hard_cases(solution: str, expected: list[str]) -> None:
    assert titles(solution) == expected
    assert "".join(step.text for step in split_steps(solution)) == solution


def test_text_and_body() -> None:
    first, second = split_steps(
        "Intro.\n\n1. **Add**: 2 + 3\n   1. **inner** x\n\n2. **Double:**\n   \\[ 10 \\]\n\nDone.\n"
    )
    assert first.text == "Intro.\n\n1. **Add**: 2 + 3\n   1. **inner** x\n\n"
    assert first.body == "2 + 3\n   1. **inner** x"
    assert second.text == "2. **Double:**\n   \\[ 10 \\]\n\nDone.\n"
    assert second.body == "\\[ 10 \\]\n\nDone."


@pytest.mark.parametrize(
    ("solution", "bodies"),
    [
        ("1. x\n\n2. y z", ["x", "y z"]),
        ("**Step 1:** x\n**Step 2**: y", ["x", "y"]),
        ("### Step 1: A\nx\n### Step 2: B\n:y", ["x", ":y"]),
        ("1. **A** : x\n2. **B**\n: y", ["x", ": y"]),
        ("1. **A**\n**Proof**: x\n2. **B**", ["**Proof**: x", ""]),
        ("no steps\n", ["no steps"]),
    ],
)
def test_bodies(solution: str, bodies: list[str]) -> None:
    assert [step.body for step in split_steps(solution)] == bodies


def test_empty_text_has_no_step() -> None:
    assert split_steps("") == ()


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_joins_back(solution: str) -> None:
    steps = split_steps(solution)
    assert "".join(step.text for step in steps) == solution
    assert all(step.body in step.text for step in steps)


WORDS = st.text("abc xyz=+^{}()$\\,.", min_size=1, max_size=30).map(str.strip).filter(bool)


@given(st.lists(st.tuples(st.text("abcdefg ", min_size=1).filter(str.strip), st.lists(WORDS, max_size=3)), min_size=2))
def test_written_steps_are_read_back(steps: list[tuple[str, list[str]]]) -> None:
    """What is written in the house form comes back, whatever words and indented lists stand in the bodies."""
    inner = "\n   1. **inner** "
    solution = "".join(
        f"{number}. **{title.strip()}**: {inner.join(['first', *body])}\n\n"
        for number, (title, body) in enumerate(steps, start=1)
    )
    assert titles(solution) == [" ".join(title.split()) for title, _ in steps]


@pytest.mark.parametrize(
    "piece",
    ["1. **a**\n", "1. **a", "$x ", "\\(", "\\[", "$$", "**", "```\n", "\\begin{a}\n", "# ", "1. a\n\n2. b\n\n", "* "],
)
def test_time_is_linear_on_hostile_text(piece: str) -> None:
    solution = "1. **" + piece * (200_000 // len(piece))
    start = time.process_time()
    split_steps(solution)
    assert time.process_time() - start < 5


@pytest.fixture(scope="module")
def solutions(shared_data: Callable[[str], Path]) -> list[str]:
    lines = shared_data(REAL).read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [row["solution"] for row in rows]


def has_titled_steps(solution: str) -> bool:
    """Two `N. **Title**` in sequence, counted by another method: words at line starts, no outline, no regions."""
    numbers: list[int] = []
    for line in solution.split("\n"):
        number, dot, rest = line.partition(". **")
        if dot and number.isascii() and number.isdigit() and "**" in rest:
            numbers.append(int(number))
    return any(number == 1 and 2 in numbers[place + 1 :] for place, number in enumerate(numbers))


def test_real_solutions_join_back(solutions: list[str]) -> None:
    assert len(solutions) == 2035
    assert all("".join(step.text for step in split_steps(solution)) == solution for solution in solutions)


def test_real_titled_solutions_parse(solutions: list[str]) -> None:
    titled = [solution for solution in solutions if has_titled_steps(solution)]
    parsed = [solution for solution in titled if len(split_steps(solution)) >= 2]
    assert len(titled) > 1700
    assert len(parsed) >= 0.97 * len(titled)


def test_real_titles_are_those_on_the_page(solutions: list[str]) -> None:
    """Where every numbered line is titled and they count 1, 2, 3, ..., these and only these are the steps."""
    line = re.compile(r"^(\d+)\. ", re.MULTILINE)
    titled = re.compile(r"^(\d+)\. \*\*(.+?)\*\*", re.MULTILINE)
    num_checked = 0
    for solution in solutions:
        found = titled.findall(solution)
        if len(found) < 2 or [int(number) for number, _ in found] != list(range(1, len(found) + 1)):
            continue
        if len(line.findall(solution)) != len(found) or re.search(r"^#+ Step", solution, re.MULTILINE):
            continue
        num_checked += 1
        assert titles(solution) == [" ".join(title.split()).rstrip(":").strip() for _, title in found]
    assert num_checked > 1600


def test_real_lists_inside_steps_stay_inside(solutions: list[str]) -> None:
    """No step begins at an indented line, and every step's header stands at the beginning of its text."""
    for solution in solutions:
        steps = split_steps(solution)
        for number, step in enumerate(steps[1:], start=2):
            assert re.match(rf"(#+ |\*\*)?(Step )?{number}\b", step.text)


def test_headers_know_their_place() -> None:
    text = "a\n\n1. **A** x\n2. y"
    assert [(header.start, header.mark, header.starts_paragraph) for header in find_headers(text)] == [
        (3, "bold", True),
        (14, "plain", False),
    ]

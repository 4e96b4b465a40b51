"""Which answer a text marks, and that finding it is quick whatever the text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.rewards.final_answer import MAX_STATED_CHARS, final_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} and \boxed{cut", r"\frac{1}{2}"),
        (r"\boxed{5} and \boxed{}", "5"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{5}. The answer is 6.", "5"),
        ("48 + 24 = 72\n#### 72", "72"),
        ("#### 72\nor so", None),
        ("The answer is 6.\n#### 72", "72"),
        # closing sentences
        ("the answer is 5", "5"),
        ("Add 2.\nSo, the final answer is 9901.", "9901"),
        ("Add 2. Therefore the answer is 1,234.50.", "1,234.50"),
        (r"Hence I think that the answer is $\frac{1}{2}$.", r"$\frac{1}{2}$"),
        ("**Final Answer:** 12", "12"),
        ("The correct answer is: (C)", "(C)"),
        ("My answer is x = 5!", "x = 5"),
        ("Final Answer: The final answer is $2k$. I hope it is correct.", "$2k$"),
        ("the answer\tis   4:30 p.m.\n\n", "4:30 p.m"),
        # none
        ("it is 27", None),
        ("27", None),
        ("The answer is 5. But wait.", None),
        ("The answer is 5.\nLet me check.", None),
        ("If the answer is 5", None),
        ("I doubt the answer is 5", None),
        ("The answer isn't 5", None),
        ("The answer to 2 + 3 is 5", None),
        ("The answer is", None),
        ("The answer is .", None),
        ("The answer is " + "1" * (MAX_STATED_CHARS + 2), None),
        ("", None),
    ],
)
def test_final_answer(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is 27", "27"),
        ("from 10 to 1,234,567.5 or", "1,234,567.5"),
        ("10 - 4 = -6", "-6"),
        ("f(x)-3", "3"),
        (".5 of it", ".5"),
        ("1,23", "23"),
        ("none", None),
        (r"\boxed{1} of 2", "1"),
        ("The answer is 1. Not 2", "2"),
    ],
)
def test_the_last_number_counts_where_it_is_asked_for(text: str, expected: str | None) -> None:
    assert final_answer(text, unmarked="last_number") == expected


@given(
    st.text() | st.lists(st.sampled_from(["The answer is ", "5", ". ", "\n", "#### ", r"\boxed{", "}"])).map("".join)
)
def test_any_text_is_read_and_an_answer_is_never_blank(text: str) -> None:
    answer = final_answer(text)
    assert answer is None or answer.strip() == answer != ""
    assert answer is None or final_answer(text, unmarked="last_number") == answer


@pytest.mark.parametrize(
    "part", ["The answer is ", "a. ", "#### 1\n", r"\boxed{", r"\boxed{}", "1,", "-", " ", "\n", "so "]
)
def test_reading_takes_time_in_proportion_to_the_length(part: str) -> None:
    started = time.monotonic()
    final_answer(part * (1_000_000 // len(part)) + "x", unmarked="last_number")
    assert time.monotonic() - started < 20  # under a second; hours if it were quadratic

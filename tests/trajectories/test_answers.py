from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.answers import find_answer, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{ 5 }", "5"),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\textbf{(A)}\ 9\text{ and }-7}", r"\textbf{(A)}\ 9\text{ and }-7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{x \} }", r"x \}"),
        (r"\left\{ \boxed{3} \right.", "3"),
        (r"\boxed{1} \boxed{cut", "1"),
        (r"\boxed{1} \boxed{}", "1"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"} \boxed{1} {", "1"),
        ("\\boxed{\n5\n}", "5"),
        (r"\boxed 5", None),
        (r"\boxedx{5}", None),
        ("", None),
    ],
)
def test_last_boxed(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("48 + 24 = 72\n#### 72", "72"),
        ("x\n#### -1,234.5\n", "-1,234.5"),
        ("x\n####$18", "$18"),
        ("so \\boxed{3}\n#### 72", "3"),
        ("#### 72\nand on", None),
        ("#### Step 2", None),
        ("it is 72", None),
    ],
)
def test_find_answer(solution: str, answer: str | None) -> None:
    assert find_answer(solution) == answer


BALANCED = st.recursive(
    st.text("abc12 +\\{}", max_size=3).map(lambda text: text.replace("\\", "").replace("{", r"\{").replace("}", r"\}")),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "".join(f"{{{part}}}" for part in parts)),
    max_leaves=8,
)


@given(st.text(), BALANCED)
def test_finds_what_was_boxed_last(before: str, content: str) -> None:
    expected = content.strip() or last_boxed(before.rstrip("\\") + " ")
    assert last_boxed(before.rstrip("\\") + " \\boxed{" + content + "} so it is.") == expected


@given(st.text(st.sampled_from("\\boxedf{} 1#\n"), max_size=60))
def test_any_text_has_an_answer_or_none(text: str) -> None:
    answer = find_answer(text)
    assert answer is None or (answer and answer in text)


@pytest.mark.parametrize("piece", ["\\boxed{", "{", "}", "\\", "#### 1", "\n####", "#### 1\n"])
def test_time_is_linear(piece: str) -> None:
    start = time.process_time()
    find_answer(piece * (400_000 // len(piece)))
    assert time.process_time() - start < 5

"""What a step comes to, and whether two steps come to the same."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.diagnosis import results
from srl.diagnosis.results import MAX_RESULT, compare_results, find_result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (r"3. **Add** 44+66=110, keep 10. The answer is \boxed{10}.", "10"),
        ("Janet sells 16 - 3 = 13 eggs.\n#### 13", "13"),
        (r"so $x + y = 3 + 4 = 7$ where $n$ is odd", "7"),
        (r"\[ \frac{1}{2} + \frac{1}{3} = \frac{5}{6}. \]", r"\frac{5}{6}"),
        (r"\begin{align*} x &= 2 \\ y &= 3 \\ \end{align*} and \(x = 2\)", "2"),
        (r"$$a_{n+1} = \sqrt{2}\, a_n,$$", r"\sqrt{2}\, a_n"),
        (r"$k^2 = 4 \quad \text{for some } k$", "4"),
        (r"It has area $\pi r^2$.", r"\pi r^2"),
        ("82-21=61. Then we go on.", "61"),
        ("x = 3.5 metres", "3.5"),
        ("that leaves 1,234 apples", "1,234"),
        ("a loss of \N{MINUS SIGN}5%", "\N{MINUS SIGN}5%"),
        ("costs $5 and then $6", "6"),
        ("By symmetry the claim follows.", None),
        ("$$ $$", None),
        ("", None),
        ("= = =", None),
        ("$x = " + "1+" * MAX_RESULT + "$", None),
    ],
)
def test_the_result_of_a_step(text: str, result: str | None) -> None:
    assert find_result(text) == result


@given(st.text("$\\[](){}=1x ,.&\n", max_size=60) | st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_text_has_a_result_or_none(text: str) -> None:
    found = find_result(text)
    assert found is None or 0 < len(found) <= MAX_RESULT


@pytest.mark.parametrize("piece", ["$", "$$", "\\(", "\\[", "= ", "1,", "\\, ", "\\boxed{", "$=$", "&", "\\quad"])
def test_long_hostile_texts_take_no_time(piece: str) -> None:
    started = time.perf_counter()
    find_result(piece * 200_000)
    assert time.perf_counter() - started < 5  # quadratic would be hours


def test_results_are_compared_like_final_answers() -> None:
    pairs = [
        ("61", "61.0"),
        (r"\frac{1}{2}", "0.5"),
        ("61", "16"),
        ("x^2+2x+1", "(x+1)^2"),
        ("x^2", "x^3"),
        ("61", "61.0"),
        (r"(x+1)^2, 5", "x"),
    ]
    assert compare_results(pairs)[:6] == [True, True, False, True, False, True]
    assert compare_results([]) == []


def test_what_cannot_be_decided_in_time_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "GRADING_SECONDS", 0.5)
    hangs = r"9^{9^{9^{9}}}"
    assert compare_results([(hangs, "2"), ("3", "3")]) == [None, True]

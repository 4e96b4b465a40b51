"""The format of completions: every case decided, and nothing makes the parsers raise."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.parsing import parse_solution, parse_step
from srl.types import ParseStatus as S

STEP_CASES = [
    ("<think>6*7=42</think>1. **Multiply** 42", "stop", S.OK, "6*7=42", "1. **Multiply** 42"),
    ("  \n<think>a</think>\n\n b \n", "stop", S.OK, "a", "b"),
    ("<think></think>b", "stop", S.OK, "", "b"),
    ("<think>a\nb</think>c\nd", "stop", S.OK, "a\nb", "c\nd"),
    ("<think>2 < 3 and 4 > 3</think>x < y", "stop", S.OK, "2 < 3 and 4 > 3", "x < y"),
    ("no tags at all", "stop", S.MISSING_THINK, "", ""),
    ("", "stop", S.MISSING_THINK, "", ""),
    ("<THINK>a</THINK>b", "stop", S.MISSING_THINK, "", ""),
    ("< think>a</ think>b", "stop", S.MISSING_THINK, "", ""),
    ("Sure! <think>a</think>b", "stop", S.TEXT_BEFORE_THINK, "", ""),
    ("a</think>b", "stop", S.TEXT_BEFORE_THINK, "", ""),
    ("</think>b", "stop", S.TEXT_BEFORE_THINK, "", ""),
    ("<think>a and on and on", "stop", S.UNCLOSED_THINK, "a and on and on", ""),
    ("<think>a</think>", "stop", S.EMPTY_ACTION, "a", ""),
    ("<think>a</think> \n ", "stop", S.EMPTY_ACTION, "a", ""),
    ("<think>a</think>b<think>c</think>d", "stop", S.STRAY_TAG, "a", ""),
    ("<think>a</think>b<think>", "stop", S.STRAY_TAG, "a", ""),
    ("<think>a</think>b</think>", "stop", S.STRAY_TAG, "a", ""),
    ("<think><think>a</think>b", "stop", S.STRAY_TAG, "<think>a", ""),
    ("<think>a</think>b", "length", S.TRUNCATED, "a", ""),
    ("<think>a", "length", S.TRUNCATED, "a", ""),
    ("no tags", "length", S.TRUNCATED, "", ""),
]


@pytest.mark.parametrize(("text", "finish", "status", "monologue", "action"), STEP_CASES)
def test_step_format(text, finish, status, monologue, action):
    parsed = parse_step(text, finish)
    assert (parsed.status, parsed.monologue, parsed.action) == (status, monologue, action)


SOLUTION_CASES = [
    ("plain solution \\boxed{3}", "stop", S.OK, "plain solution \\boxed{3}"),
    ("<think>a</think>1. x\n\n<think>b</think>2. y", "stop", S.OK, "1. x\n\n2. y"),
    ("x <think>a</think> y", "stop", S.OK, "x  y"),
    ("<think>a</think>", "stop", S.EMPTY_ACTION, ""),
    ("", "stop", S.EMPTY_ACTION, ""),
    ("x <think>a", "stop", S.UNCLOSED_THINK, ""),
    ("x </think> y", "stop", S.STRAY_TAG, ""),
    ("<think>a<think>b</think>c", "stop", S.STRAY_TAG, ""),
    ("x \\boxed{3}", "length", S.TRUNCATED, ""),
]


@pytest.mark.parametrize(("text", "finish", "status", "action"), SOLUTION_CASES)
def test_solution_format(text, finish, status, action):
    parsed = parse_solution(text, finish)
    assert (parsed.status, parsed.action) == (status, action)


pieces = st.sampled_from(
    ["<think>", "</think>", "<THINK>", "<thi", "nk>", " ", "\n", "a", "1. **T** x", "\ud800", "\x00"]
)
completions = st.lists(st.one_of(pieces, st.text(max_size=4)), max_size=8).map("".join)


@given(completions, st.sampled_from(["stop", "length"]))
def test_parsers_are_total_and_score_only_well_formed_text(text, finish):
    for parse in (parse_step, parse_solution):
        parsed = parse(text, finish)
        assert (parsed.action != "") == (parsed.status is S.OK)
        assert not re.search("</?think>", parsed.action)
        assert (parsed.status is S.TRUNCATED) == (finish == "length")


@given(st.text(), st.text())
def test_a_well_formed_step_comes_back(monologue, action):
    if re.search("</?think>", monologue + "|" + action) or not action.strip():
        return
    parsed = parse_step(f"<think>{monologue}</think>{action}", "stop")
    assert (parsed.status, parsed.monologue, parsed.action) == (S.OK, monologue.strip(), action.strip())

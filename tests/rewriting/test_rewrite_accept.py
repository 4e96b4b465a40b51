"""Which answers become rewritten solutions, by a table and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.prompts import RewriteTexts
from srl.rewriting.accept import RejectReason, check_rewrite
from srl.trajectories.segment import segment, split_steps
from srl.trajectories.settings import ReadSettings

GOOD = "1. **Add the numbers** $2 + 3 = 5$.\n\n2. **Double the sum** $2 \\cdot 5 = \\boxed{10}$."
ORIGINAL = "Adding gives 2 + 3 = 5, and twice that is 10, so the answer is \\boxed{10}."


def check(text, *, finish_reason="stop", original=ORIGINAL, stated_answer="10", **limits):
    limits = {"min_length_ratio": 0.3, "max_length_ratio": 3.0, "max_step_chars": 2000} | limits
    return check_rewrite(text, finish_reason, original=original, stated_answer=stated_answer, **limits)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n\n{GOOD}\n",
        f"<think>1. **No** wait</think>\n{GOOD}",
        f"so 5, then 10</think>{GOOD}",  # a server that opens the thinking in its prompt
        f"```markdown\n{GOOD}\n```",
        GOOD.replace("10}", "10.0}"),
        GOOD.replace("10}", "\\frac{20}{2}}"),
        GOOD.replace("$2 + 3 = 5$.", "So:\n\n1. two\n2. three\n\nmake five."),  # a plain list inside a step
        GOOD.replace("1. **Add the numbers**", "**1. Add the numbers**").replace(
            "2. **Double the sum**", "**2. Double the sum**"
        ),
    ],
)
def test_accepted(text):
    verdict = check(text)
    assert verdict.rejection is None
    assert verdict.text.startswith(("1. **Add", "**1. Add"))
    assert verdict.text.endswith("$.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_steps"),
        ("1. **Do it all** \\boxed{10}", "no_steps"),
        ("I cannot help with this request.", "refused"),
        ("I’m sorry, I can’t.", "refused"),
        ("Unfortunately, I am not allowed to.", "refused"),
        ("```\nI'm unable to\n```", "refused"),
        (f"Sure!\n\n{GOOD}", "text_before_steps"),
        (GOOD.replace("**Double the sum**", "Double the sum:"), "untitled_step"),
        (GOOD.replace("Double the sum", "Now we double the sum that we have found before " * 3), "long_title"),
        (f"{GOOD}\n\n4. **Skip** a number", "broken_numbering"),
        (f"{GOOD}\n\n2. **Repeat** a number", "broken_numbering"),
        (f"{GOOD}\n\n**Step 3: Change** the look", "broken_numbering"),
        (GOOD.replace(" $2 + 3 = 5$.", ""), "empty_step"),
        (GOOD.replace("5$.", "5$." + " so" * 700), "long_step"),
        (GOOD.replace("\\boxed{10}", "10"), "lost_answer"),
        (GOOD.replace("\\boxed{10}", "\\boxed{}"), "lost_answer"),
        (GOOD.replace("10}", "11}"), "changed_answer"),
        (GOOD + " Check: \\boxed{5}", "changed_answer"),
        (GOOD.replace("5$.", "5$." + " so" * 250), "too_long"),
        (GOOD + "\x00", "bad_characters"),
        (GOOD + "\ud800", "bad_characters"),
    ],
)
def test_rejected(text, reason):
    rejection = check(text).rejection
    assert rejection is not None
    assert rejection.reason == reason
    assert rejection.detail


def test_too_short():
    assert check(GOOD, original=ORIGINAL * 10).rejection.reason == "too_short"
    assert check(GOOD, original=ORIGINAL * 10, min_length_ratio=0.0).rejection is None


def test_ended_by_the_limit_or_by_a_filter():
    assert check(GOOD, finish_reason="length").rejection.reason == "cut_off"
    assert check(GOOD, finish_reason="content_filter").rejection.reason == "refused"
    assert check(GOOD, finish_reason="").rejection is None


def test_a_proof_has_no_answer_to_compare():
    assert check(GOOD, stated_answer=None).rejection is None


def test_a_step_of_any_length_is_fine_without_a_limit_for_steps():
    long = GOOD.replace("5$.", "5$." + " so" * 700)
    assert check(long, original="x" * 2000, max_step_chars=0).rejection is None


def test_the_examples_in_the_prompt_pass_the_checks():
    texts = RewriteTexts()
    first = check(texts.first_steps, original=texts.first_solution, stated_answer="4")
    second = check(texts.second_steps, original=texts.second_solution, stated_answer=None)
    assert first.rejection is None
    assert second.rejection is None
    assert check(texts.first_solution).rejection.reason == RejectReason.NO_STEPS


marks = ["1. ", "2. ", "3. ", "**", "**Add it** ", "### ", "Step 1: ", "```", "- "]
pieces = st.sampled_from([*marks, "\n", "\n\n", "\\boxed{10}", "text ", "$", " "])
answers = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join))


@given(text=answers, finish_reason=st.sampled_from(["stop", "length", ""]), original=st.text(), answer=st.text())
def test_any_text_gets_a_verdict(text, finish_reason, original, answer):
    check(text, finish_reason=finish_reason, original=original, stated_answer=answer or None)


heads = st.sampled_from(
    ["{}. **Add it** ", "{}. **Add\nit**: ", "**{}. Add it** ", "**Step {}:** ", "### {}. Add it\n"]
)


@st.composite
def lists_of_steps(draw):
    """Nearly right lists, so that some are accepted."""
    head = draw(heads)
    bodies = draw(st.lists(st.lists(pieces, max_size=4).map("".join), min_size=2, max_size=4))
    gaps = st.sampled_from(["\n\n", "\n", "\n \n"])
    return "".join(head.format(number) + "b" + body + draw(gaps) for number, body in enumerate(bodies, start=1))


@given(text=lists_of_steps())
def test_what_is_accepted_is_read_as_it_was_checked(text):
    verdict = check(text, stated_answer=None, original="x" * 60, max_length_ratio=50.0, min_length_ratio=0.0)
    if verdict.rejection is None:
        read = segment(verdict.text, ReadSettings())
        assert read.splitter == "titled-numbers"
        assert read.steps == split_steps(verdict.text)
        assert len(read.steps) >= 2
        assert all(step.title and step.body for step in read.steps)

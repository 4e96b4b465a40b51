"""Contexts cut to a token budget: never over it, the problem whole, and what is missing counted where it stood."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import regex  # a dependency of transformers; knows what people see as one character
from hypothesis import given, settings
from hypothesis import strategies as st

from srl.context import (
    MIN_CUT_TOKENS,
    ContextLimits,
    count_tokens,
    cut_middle,
    cut_to_chars,
    fit_example,
    is_character_border,
    keep_last_turns,
)
from srl.errors import ConfigError
from srl.prompts import DEFAULT_TEXTS, step_prompt
from srl.tasks.tiny_model import train_tokenizer
from srl.types import Source, StepExample

MARKER = DEFAULT_TEXTS.agent_cut_marker
MARKER_LINE = re.compile(r"\[\.\.\. ([\d,]+) characters left out \.\.\.\]")
SAMPLE = "def test_case(self):\n    assert find(name) == 3  # the first\n" * 3 + "error: no such file or directory\n"
TOKENIZER = train_tokenizer([SAMPLE, "über 汉字 👍🏽 é"], 400)
LIMITS = ContextLimits(max_observation_tokens=150, max_prompt_tokens=1200)

PIECES = [
    "error: ",
    "\n",
    "\r\n",
    "    ",
    "assert find(name)",
    "汉",
    "é",
    "👨‍👩‍👧",
    "🇩🇪",
    "한",
    "ᄒ",
    "क्ष",
    "👍🏽",
    "x",
    "7",
]
RUNS = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join), min_size=1, max_size=6)
texts = (
    st.tuples(RUNS, st.integers(1, 30)).map(lambda drawn: "".join(run * drawn[1] for run in drawn[0]))
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | st.sampled_from(["", SAMPLE, "e" + "\u0301" * 500, "🇩🇪" * 200, "\n" * 400])
)


def render(example):
    (system, user), _ = step_prompt(example, context_in="user", title_in_prompt=False).messages, ""
    return f"<|im_start|>{system['content']}<|im_end|>\n<|im_start|>{user['content']}<|im_end|>\n"


def count(text):
    return count_tokens(text, TOKENIZER)


def cut(text, max_tokens, tokenizer=TOKENIZER):
    return cut_middle(text, max_tokens, tokenizer=tokenizer, marker=MARKER)


def fit(example, limits=LIMITS):
    return fit_example(example, render=render, tokenizer=TOKENIZER, limits=limits)


def agent_example(observations, actions=None, problem="The parser drops the last line."):
    actions = actions or [f"cat file{index}.py" for index in range(len(observations))]
    return StepExample(
        trajectory_id="t", step_index=len(observations) + 3, num_steps=30, problem=problem, context=tuple(actions),
        title="", target_action="ls", target_body="ls", answer=None, source=Source(file="f", row=0), kind="agent",
        observations=tuple(observations),
    )  # fmt: skip


def taken_apart(text, original):
    """Head, tail and the number in the marker of a cut text."""
    found = list(MARKER_LINE.finditer(text))
    marker = next(m for m in found if original.startswith(text[: m.start()].removesuffix("\n")))
    head, tail = text[: marker.start()], text[marker.end() :]
    # The line breaks around the marker are its own.
    assert head == "" or head.endswith("\n")
    assert tail == "" or tail.startswith("\n")
    return head.removesuffix("\n"), tail.removeprefix("\n"), int(marker[1].replace(",", ""))


@given(texts, st.integers(60, 160))
@settings(max_examples=150, deadline=None)
def test_a_cut_text_keeps_its_two_ends_and_counts_the_rest(text, max_tokens):
    result = cut(text, max_tokens)
    if count(text) <= max_tokens:
        assert result == text
        return
    assert count(result) <= max_tokens
    assert cut(result, max_tokens) == result
    head, tail, missing = taken_apart(result, text)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert missing == len(text) - len(head) - len(tail)
    borders = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    assert {len(head), len(text) - len(tail)} <= borders


def test_a_cut_text_uses_most_of_its_budget_on_both_ends():
    text = "".join(f"line {number}\n" for number in range(2000))
    result = cut(text, 400)
    head, tail, _ = taken_apart(result, text)
    assert 390 <= count(result) <= 400
    assert abs(count(head) - count(tail)) <= 4


@given(texts, st.integers(60, 400))
@settings(max_examples=100, deadline=None)
def test_a_limit_in_characters(text, max_chars):
    result = cut_to_chars(text, max_chars, marker=MARKER)
    if len(text) <= max_chars:
        assert result == text
        return
    assert len(result) <= max_chars
    head, tail, missing = taken_apart(result, text)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert missing == len(text) - len(head) - len(tail)
    borders = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    assert {len(head), len(text) - len(tail)} <= borders


@pytest.mark.parametrize("max_chars", range(600, 1000, 7))
def test_a_text_that_was_cut_before_is_counted_from_the_original(max_chars):
    text = "".join(f"line {number}\n" for number in range(2000))
    stored = cut_to_chars(text, max_chars, marker=MARKER)
    head, tail, missing = taken_apart(cut(stored, 300), text)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert missing == len(text) - len(head) - len(tail)


def test_what_only_looks_like_a_marker_is_text():
    for line in ("[... , characters left out ...]", f"[... {'9' * 5000} characters left out ...]", MARKER):
        text = f"{'a' * 300}\n{line}\n{'b' * 300}"
        head, tail, missing = taken_apart(cut_to_chars(text, 100, marker=MARKER), text)
        assert missing == len(text) - len(head) - len(tail)


class Recording:
    """The tokenizer, and how many characters went through it."""

    def __init__(self):
        self.num_characters = 0

    def __call__(self, text, **options):
        self.num_characters += len(text)
        return TOKENIZER(text, **options)


def test_only_the_ends_of_a_huge_text_are_tokenized_and_the_result_is_the_same_as_of_the_whole():
    text = "".join(f"assert find({number}) == {number * number}\n" for number in range(40_000))
    assert len(text) > 1_000_000
    tokenizer = Recording()
    result = cut(text, 300, tokenizer)
    assert tokenizer.num_characters < 20_000
    head, tail, missing = taken_apart(result, text)
    assert missing == len(text) - len(head) - len(tail)
    offsets = TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert len(head) in {end for _, end in offsets}
    assert len(text) - len(tail) in {start for start, _ in offsets}


def test_a_long_text_of_few_tokens_is_not_cut():
    spaces = train_tokenizer([" " * 64 + "x"] * 100, 330)
    text = " " * 50_000
    assert count_tokens(text, spaces) < 2000 < len(text) / 12
    assert cut(text, 2000, spaces) == text


def test_a_budget_below_the_marker_is_an_error_that_says_what_to_change():
    with pytest.raises(ConfigError, match=r"cannot be cut to 5 tokens.*raise prompt\.max_observation_tokens"):
        cut("word " * 100, 5)


def test_what_people_see_as_one_character_is_not_cut():
    for cluster in ("é", "👨‍👩‍👧", "🇩🇪", "각", "\r\n", "👍🏽", "क्ष", "☀️"):
        text = f"a{cluster}b"
        inside = range(2, len(text) - 1)
        assert not any(is_character_border(text, position) for position in inside), cluster
        assert is_character_border(text, 1), cluster
    assert all(is_character_border("a汉b ß\n", position) for position in range(7))


def test_what_fits_is_left_alone():
    example = agent_example(["short", "also short"])
    assert fit(example) is example


def test_each_observation_is_cut_to_its_own_limit():
    example = agent_example(["word " * 400, "short"])
    fitted = fit(example)
    assert count(fitted.observations[0]) <= 150
    assert "characters left out" in fitted.observations[0]
    assert replace(fitted, observations=example.observations) == example
    assert fitted.observations[1] == "short"


def limits_for(example, num_tokens_less):
    return replace(LIMITS, max_prompt_tokens=count(render(example)) - num_tokens_less)


def test_the_oldest_observation_pays_first():
    example = fit(agent_example(["word " * 400, "name " * 400]), replace(LIMITS, max_prompt_tokens=None))
    fitted = fit(example, limits_for(example, 40))
    assert count(fitted.observations[0]) < 120
    assert fitted.observations[1] == example.observations[1]
    more = fit(example, limits_for(example, 120))
    assert MIN_CUT_TOKENS - 4 <= count(more.observations[0]) <= MIN_CUT_TOKENS
    assert MIN_CUT_TOKENS < count(more.observations[1]) < 150
    assert more.context == example.context


def test_then_the_oldest_round_is_left_out_and_the_other_gets_its_room_back():
    example = fit(agent_example(["word " * 400, "name " * 400]), replace(LIMITS, max_prompt_tokens=None))
    fitted = fit(example, limits_for(example, 185))
    assert fitted.context == example.context[1:]
    assert fitted.observations == example.observations[1:]
    assert "not shown: 4." in render(fitted)


def test_a_giant_action_is_cut_when_nothing_else_is_left():
    giant = "cat > new.py <<EOF\n" + "name = find(name)\n" * 300 + "EOF"
    example = agent_example(["short", "done"], actions=["ls", giant])
    limits = replace(LIMITS, max_prompt_tokens=count(render(keep_last_turns(example, 0))) + 200)
    fitted = fit(example, limits)
    assert len(fitted.context) == 1
    head, tail, _ = taken_apart(fitted.context[0], giant)
    assert head.startswith("cat > new.py")
    assert tail.endswith("EOF")
    assert fitted.observations == ("done",)


def test_an_older_giant_action_is_never_cut():
    giant = "cat > new.py <<EOF\n" + "name = find(name)\n" * 300 + "EOF"
    fitted = fit(agent_example(["done", "short"], actions=[giant, "ls"]))
    assert fitted.context == ("ls",)


def test_a_problem_that_does_not_fit_cannot_be_used():
    example = agent_example(["short", "short"], problem="It fails. " * 1000)
    assert fit(example) is None
    assert fit(keep_last_turns(example, 0)) is None


def test_solutions_are_used_whole_or_not_at_all():
    solution = replace(agent_example([]), kind="solution", context=("1. **A** " + "x" * 100,), step_index=1)
    assert fit(solution) is solution
    assert fit(solution, replace(LIMITS, max_prompt_tokens=count(render(solution)) - 1)) is None
    assert keep_last_turns(solution, 0) is solution


def test_the_last_rounds_are_kept():
    example = agent_example(["a", "b", "c"])
    assert keep_last_turns(example, 2).observations == ("b", "c")
    assert keep_last_turns(example, 2).context == ("cat file1.py", "cat file2.py")
    assert keep_last_turns(example, 0).context == ()
    assert keep_last_turns(example, 3) is example
    assert keep_last_turns(example, 9) is example


def test_a_tokenizer_without_offsets_is_an_error_that_says_so():
    def slow(text, *, return_offsets_mapping, **options):
        if return_offsets_mapping:
            raise NotImplementedError
        return TOKENIZER(text, **options)

    with pytest.raises(ConfigError, match="fast tokenizer"):
        cut("word " * 100, 50, slow)


@given(
    st.lists(st.tuples(texts, texts), max_size=3),
    st.text("ab é汉\n", min_size=1, max_size=200),
    st.integers(60, 200),
    st.integers(700, 1600),
)
@settings(max_examples=100, deadline=None)
def test_no_prompt_is_over_the_budget_and_the_problem_stays(rounds, problem, max_observation, max_prompt):
    example = agent_example([observation for _, observation in rounds], [action for action, _ in rounds], problem)
    limits = ContextLimits(max_observation_tokens=max_observation, max_prompt_tokens=max_prompt)
    fitted = fit(example, limits)
    assert (fitted is None) == (count(render(keep_last_turns(example, 0))) > max_prompt)
    if fitted is None:
        return
    assert count(render(fitted)) <= max_prompt
    assert all(count(text) <= max_observation for text in fitted.observations)
    assert fitted.problem == problem
    assert len(fitted.context) == len(fitted.observations)
    assert fit(fitted, limits) == fitted
    kept = keep_last_turns(example, len(fitted.context))
    assert fitted.context == kept.context or len(fitted.context) == 1
    for text, original in zip(
        (*fitted.context, *fitted.observations), (*kept.context, *kept.observations), strict=True
    ):
        if text != original:
            head, tail, missing = taken_apart(text, original)
            assert original.endswith(tail)
            assert missing == len(original) - len(head) - len(tail)

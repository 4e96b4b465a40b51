"""Both solving modes and the step accuracy with an engine whose replies are scripted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from srl.engines import Engine
from srl.engines.scripted import ScriptedEngine
from srl.evaluation.solve import ChainLimits, SolveOutcome, SolveRecord, fingerprint, solve_stepwise, solve_whole
from srl.evaluation.step_accuracy import step_accuracy
from srl.evaluation.step_text import read_step
from srl.prompts import ContextPlace, PromptTexts, next_step_prompt, solve_prompt
from srl.types import (
    ChatPrompt,
    FinishReason,
    Generation,
    ParseStatus,
    Problem,
    SamplingParams,
    Source,
    StepExample,
)

GREEDY = SamplingParams(temperature=0.0, max_completion_tokens=100)
SAMPLED = SamplingParams(temperature=1.0, max_completion_tokens=100)
PROBLEMS = [Problem(problem_id=f"p{n}", problem=f"Count from 1 to {n}.", answer=str(n)) for n in (1, 3, 6)]


def goal(prompt: ChatPrompt) -> int:
    return int(re.findall(r"to (\d+)\.", prompt.messages[-1]["content"])[0])


def count_on(prompt: ChatPrompt, _: int) -> str:
    """One number per step, boxed when the goal is reached; how far it is stands in the context."""
    context = prompt.messages[-1]["content"] + prompt.assistant_prefix
    number = len(re.findall(r"number", context)) + 1
    return f"<think>after {number - 1}</think>number " + (rf"\boxed{{{number}}}" if number == goal(prompt) else "on")


def num_tokens(text: str) -> int:
    """How many tokens a scripted completion has."""
    engine = ScriptedEngine(lambda *_: text)
    (generation,) = engine.generate([solve_prompt("")], num_samples=1, sampling=GREEDY, seed=0)
    return len(generation.completions[0].token_ids)


class Recorder:
    """Keeps what the engine was asked."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[tuple[list[ChatPrompt], int, int, float]] = []

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        self.calls.append((list(prompts), num_samples, seed, sampling.temperature))
        return self.engine.generate(prompts, num_samples=num_samples, sampling=sampling, seed=seed)

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        return self.engine.count_prompt_tokens(prompt)


def stepwise(
    engine: Engine,
    *,
    problems: Sequence[Problem] = PROBLEMS,
    num_samples: int = 1,
    max_steps: int = 8,
    context_in: ContextPlace = "user",
) -> list[SolveRecord]:
    limits = ChainLimits(max_steps=max_steps)
    return solve_stepwise(
        engine, problems, num_samples=num_samples, sampling=GREEDY, seed=0, limits=limits, context_in=context_in
    )


def test_whole_solutions_are_graded_on_the_text_outside_think() -> None:
    def reply(prompt: ChatPrompt, index: int) -> str:
        right = rf"\boxed{{{goal(prompt)}}}"
        return [
            f"so {right}",
            f"<think>{right}</think>it is that",
            f"<think>{right} so {right}",
            r"<think>\boxed{9}</think>" + right + "<think>sure</think>",
            right + "." * 100,
            r"\boxed{77}",
        ][index]

    records = solve_whole(ScriptedEngine(reply), PROBLEMS[1:], num_samples=6, sampling=SAMPLED, seed=0)
    assert [(record.problem_id, record.sample_index) for record in records] == [
        (problem.problem_id, index) for problem in PROBLEMS[1:] for index in range(6)
    ]
    of_three = records[:6]
    assert [record.is_correct for record in of_three] == [True, False, False, True, False, False]
    assert [record.outcome for record in of_three] == [
        SolveOutcome.ANSWERED,
        SolveOutcome.NO_ANSWER,
        SolveOutcome.FORMAT_ERROR,
        SolveOutcome.ANSWERED,
        SolveOutcome.FORMAT_ERROR,
        SolveOutcome.ANSWERED,
    ]
    assert [record.answer for record in of_three] == ["3", None, None, "3", None, "77"]
    assert of_three[2].status is ParseStatus.UNCLOSED_THINK
    assert (of_three[4].status, of_three[4].finish_reason) == (ParseStatus.TRUNCATED, "length")
    assert (of_three[4].num_completion_tokens, of_three[4].steps) == (100, ())
    assert of_three[3].steps == (r"\boxed{3}",)
    assert of_three[0].prompt_sha256 == fingerprint(solve_prompt(PROBLEMS[1].problem))
    assert {record.temperature for record in records} == {1.0}


TOO_LARGE = r"1.5^{10^{12}} \mod 7"
"""An answer that nobody can evaluate: sympy wants 70 GB at once for it."""


def test_what_cannot_be_graded_is_neither_right_nor_wrong() -> None:
    def reply(prompt: ChatPrompt, index: int) -> str:
        answer = [TOO_LARGE, str(goal(prompt)), "77"][index]
        return rf"<think></think>\boxed{{{answer}}}"

    whole = solve_whole(ScriptedEngine(reply), PROBLEMS[:1], num_samples=3, sampling=SAMPLED, seed=0)
    chains = stepwise(ScriptedEngine(lambda prompt, index: reply(prompt, 0)), num_samples=2)
    assert [(record.outcome, record.is_correct) for record in whole] == [
        (SolveOutcome.UNGRADED, False), (SolveOutcome.ANSWERED, True), (SolveOutcome.ANSWERED, False)
    ]  # fmt: skip
    assert whole[0].answer == TOO_LARGE
    assert {(record.outcome, record.is_correct) for record in chains} == {(SolveOutcome.UNGRADED, False)}


def test_an_unmarked_answer_counts_in_whole_solutions_where_it_is_asked_for() -> None:
    engine = ScriptedEngine(lambda prompt, _: f"it is {goal(prompt)}")
    (strict,) = solve_whole(engine, PROBLEMS[1:2], num_samples=1, sampling=SAMPLED, seed=0)
    (lenient,) = solve_whole(
        engine, PROBLEMS[1:2], num_samples=1, sampling=SAMPLED, seed=0, unmarked="last_number"
    )  # fmt: skip
    assert (strict.outcome, strict.answer, strict.is_correct) == (SolveOutcome.NO_ANSWER, None, False)
    assert (lenient.outcome, lenient.answer, lenient.is_correct) == (SolveOutcome.ANSWERED, "3", True)


def test_a_closing_sentence_ends_a_chain_like_a_box() -> None:
    def reply(prompt: ChatPrompt, index: int) -> str:
        return count_on(prompt, index).replace(r"number \boxed{3}", "So the answer is 3.")

    (record,) = stepwise(ScriptedEngine(reply), problems=PROBLEMS[1:2])
    assert (record.outcome, record.is_correct, len(record.steps)) == (SolveOutcome.ANSWERED, True, 3)


@pytest.mark.parametrize("context_in", ["user", "assistant"])
def test_chains_feed_back_their_own_steps_and_end_with_the_answer(context_in: ContextPlace) -> None:
    engine = Recorder(ScriptedEngine(count_on))
    records = stepwise(engine, num_samples=2, context_in=context_in)
    assert [(record.problem_id, record.sample_index) for record in records] == [
        ("p1", 0), ("p1", 1), ("p3", 0), ("p3", 1), ("p6", 0), ("p6", 1),
    ]  # fmt: skip
    assert all(record.is_correct and record.outcome is SolveOutcome.ANSWERED for record in records)
    assert records[2].steps == ("number on", "number on", r"number \boxed{3}")
    assert records[2].texts[1] == "<think>after 1</think>number on"
    assert records[2].num_completion_tokens == sum(map(num_tokens, records[2].texts))
    assert [len(prompts) for prompts, *_ in engine.calls] == [6, 4, 4, 2, 2, 2]
    assert all(num_samples == 1 for _, num_samples, _, _ in engine.calls)
    assert len({seed for _, _, seed, _ in engine.calls}) == 6
    third_round = engine.calls[2][0]
    assert third_round[0] == next_step_prompt(PROBLEMS[1].problem, ["number on"] * 2, context_in=context_in)
    assert "<think>after" not in str(third_round)


def test_a_chain_that_never_answers_stops_at_max_steps() -> None:
    engine = ScriptedEngine(lambda prompt, _: "<think></think>on and on")
    (record,) = stepwise(engine, problems=PROBLEMS[:1], max_steps=5)
    assert (record.outcome, record.is_correct, len(record.steps)) == (SolveOutcome.MAX_STEPS, False, 5)
    assert engine.num_calls == 5
    (reached,) = stepwise(ScriptedEngine(count_on), problems=PROBLEMS[1:2], max_steps=3)
    assert (reached.outcome, reached.is_correct) == (SolveOutcome.ANSWERED, True)
    with pytest.raises(ValueError, match="at least 1"):
        ChainLimits(max_steps=0)


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (r"number \boxed{3}", ParseStatus.MISSING_THINK),
        (r"<think>\boxed{3}", ParseStatus.UNCLOSED_THINK),
        (r"<think>\boxed{3}</think>", ParseStatus.EMPTY_ACTION),
        (r"<think></think>\boxed{3}<think>", ParseStatus.STRAY_TAG),
        (r"<think></think>\boxed{3}" + "." * 100, ParseStatus.TRUNCATED),
    ],
)
def test_a_step_that_breaks_the_format_ends_its_chain_and_only_its_chain(broken: str, status: ParseStatus) -> None:
    def reply(prompt: ChatPrompt, index: int) -> str:
        at_second_step = "number" in prompt.messages[-1]["content"]
        return broken if goal(prompt) == 3 and at_second_step else count_on(prompt, index)

    records = stepwise(ScriptedEngine(reply))
    assert [record.is_correct for record in records] == [True, False, True]
    assert (records[1].outcome, records[1].status) == (SolveOutcome.FORMAT_ERROR, status)
    assert (records[1].steps, records[1].texts[1][:20]) == (("number on",), broken[:20])


def test_a_chain_ends_before_its_prompt_outgrows_the_window() -> None:
    engine = Recorder(ScriptedEngine(lambda prompt, _: "<think></think>" + "on " * 20))
    empty = PromptTexts(step_system="", context_heading="", first_step_note="")
    (record,) = solve_stepwise(
        engine,
        PROBLEMS[:1],
        num_samples=1,
        sampling=GREEDY,
        seed=0,
        limits=ChainLimits(max_steps=50, max_prompt_tokens=400),
        context_in="user",
        texts=empty,
    )
    assert (record.outcome, record.is_correct) == (SolveOutcome.CONTEXT_FULL, False)
    lengths = [engine.count_prompt_tokens(prompts[0]) for prompts, *_ in engine.calls]
    assert 400 - 62 < max(lengths) <= 400  # one more step of 60 characters would not have fitted


def test_a_long_monologue_does_not_fill_the_context() -> None:
    """It is not fed back, so only the steps count."""
    engine = ScriptedEngine(lambda prompt, _: "<think>" + "hm " * 1000 + "</think>on")
    limits = ChainLimits(max_steps=3, max_prompt_tokens=1500)
    (record,) = solve_stepwise(
        engine, PROBLEMS[:1], num_samples=1, sampling=replace(GREEDY, max_completion_tokens=4000), seed=0,
        limits=limits, context_in="user",
    )  # fmt: skip
    assert record.outcome is SolveOutcome.MAX_STEPS


def examples() -> list[StepExample]:
    def make(trajectory_id: str, step_index: int, title: str = "Add") -> StepExample:
        body = f"{step_index} + 1\n= {step_index + 1}"
        return StepExample(
            trajectory_id=trajectory_id,
            step_index=step_index,
            num_steps=4,
            problem=f"Problem {trajectory_id}",
            context=tuple(f"step {i}" for i in range(step_index)),
            title=title,
            target_action=f"{step_index + 1}. **{title}** {body}",
            target_body=body,
            answer=None,
            source=Source(file="f", row=0),
        )

    return [make("a", 0), make("a", 1), make("a", 2), make("b", 0), make("b", 1, title="")]


@pytest.mark.parametrize("title_in_prompt", [True, False])
def test_step_accuracy_compares_the_action_with_the_target_word_for_word(title_in_prompt: bool) -> None:
    def reply(prompt: ChatPrompt, _: int) -> str:
        text = prompt.messages[-1]["content"]
        index = len(re.findall(r"step \d", text))
        if "Problem a" in text and index == 1:
            return f"{index + 1}. **Add** {index} + 1 = {index + 1}"  # no monologue: not scored
        title = "" if "titled" in text else f"{index + 1}. **{'Add' if (index, 'b') != (1, text[8]) else ''}** "
        return f"<think>!</think>\n{title}{index}   + 1 = {index + 1 if index < 2 else 99}\n"

    seen: list[tuple[int, int]] = []
    engine = Recorder(ScriptedEngine(reply))
    records, score = step_accuracy(
        engine,
        examples(),
        context_in="user",
        title_in_prompt=title_in_prompt,
        max_completion_tokens=100,
        batch_size=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert [record.is_match for record in records] == [True, False, False, True, True]
    assert records[1].status is ParseStatus.MISSING_THINK
    assert [record.target for record in records][4].startswith("2. **")  # without a title the whole step is asked for
    assert records[0].target.startswith("0 + 1" if title_in_prompt else "1. **Add**")
    assert (score.name, score.value, score.num_problems, score.num_samples) == ("steps/greedy", 0.6, 2, 5)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert {temperature for *_, temperature in engine.calls} == {0.0}


def test_without_the_duty_to_think_a_bare_step_counts_as_its_text() -> None:
    """A policy that was taught the expert's steps and no thoughts is judged by its answers."""

    def count_on_without_thoughts(prompt: ChatPrompt, index: int) -> str:
        return count_on(prompt, index).partition("</think>")[2]

    engine = ScriptedEngine(count_on_without_thoughts)
    for needs_think, expected in ((True, [False] * 3), (False, [True] * 3)):
        records = solve_stepwise(
            engine,
            PROBLEMS,
            num_samples=1,
            sampling=GREEDY,
            seed=0,
            limits=ChainLimits(max_steps=8),
            context_in="user",
            needs_think=needs_think,
        )
        assert [record.is_correct for record in records] == expected


@pytest.mark.parametrize(
    ("text", "finish_reason", "status"),
    [
        ("x = 42", "stop", ParseStatus.OK),
        ("<think>6*7</think>x = 42", "stop", ParseStatus.OK),
        ("x = 42", "length", ParseStatus.TRUNCATED),
        ("  ", "stop", ParseStatus.EMPTY_ACTION),
        ("<think>x = 42", "stop", ParseStatus.UNCLOSED_THINK),
        ("x = <think>a</think>42", "stop", ParseStatus.TEXT_BEFORE_THINK),
    ],
)
def test_a_broken_format_stays_broken_without_the_duty_to_think(
    text: str, finish_reason: FinishReason, status: ParseStatus
) -> None:
    assert read_step(text, finish_reason, needs_think=False).status is status

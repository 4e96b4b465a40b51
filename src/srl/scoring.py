"""A stage's settings -> how its completions become rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from srl.chat_api import ChatAnswer, ServerConfig, ask_many, check_server
from srl.completion_rewards import Scoring
from srl.config import StageConfig
from srl.outcome_gate import OutcomeGate
from srl.parsing import THINK_CLOSE, THINK_OPEN, parse_solution, parse_step
from srl.rewards.choice import build_reward
from srl.rewards.outcome import OutcomeReward
from srl.rewards.shaping import overlong_penalty
from srl.training_examples import rest_of_solution
from srl.types import ChatPrompt, Completion, ParseStatus, Ungraded


def build_scoring(config: StageConfig, *, model_path: str = "", run_dir: str = "") -> Scoring:
    """Parser, reward, penalty and gate of a stage.

    ``model_path`` is the policy's, for its tokenizer; ``run_dir`` the run's folder, in which a judge keeps its grades
    ("": in memory only).
    """
    reward, outcome = config.reward, OutcomeReward()
    # Paper: 5.1 rewards the final answer and says nothing of solutions that are cut or cannot be read.
    # A solution that cannot be read or was cut is wrong, as in any evaluation; there is no further penalty.
    by_answer = Scoring(
        parse=parse_solution,
        reward=outcome,
        format_penalty=0.0,
        drop_errors=reward.on_error == "drop",
        length_penalty=_length_penalty(config),
    )
    if config.kind != "srl":  # fine-tuning scores nothing; its validation solves problems
        return by_answer
    return Scoring(
        # A whole solution may think anywhere between its steps; a single step thinks first.
        parse=parse_solution if config.data.one_step else parse_step,
        reward=build_reward(reward, model_path=model_path, run_dir=run_dir),
        format_penalty=reward.format_penalty,
        drop_errors=reward.on_error == "drop",
        gate=None if reward.outcome == "off" else _gate(config, outcome),
        problems=by_answer if config.interleave.is_on else None,
        length_penalty=_length_penalty(config),
    )


def _length_penalty(config: StageConfig) -> Callable[[int], float] | None:
    sampling = config.sampling
    if sampling.overlong_tokens == 0:
        return None
    return partial(
        overlong_penalty,
        max_completion_tokens=sampling.max_completion_tokens,
        overlong_tokens=sampling.overlong_tokens,
    )


def _gate(config: StageConfig, outcome: OutcomeReward) -> OutcomeGate:
    reward, prompt = config.reward, config.prompt
    assert reward.outcome != "off"
    expert = None
    if reward.finished_by == "expert":
        check_server(reward.server)
        expert = partial(_ask_expert, server=reward.server, max_tokens=reward.max_finishing_tokens)
    return OutcomeGate(
        mode=reward.outcome,
        weight=reward.outcome_weight,
        prompt=partial(
            rest_of_solution,
            # A chat endpoint writes turns of its own; it cannot go on in the middle of one.
            context_in=prompt.context_in if expert is None else "user",
            title_in_prompt=prompt.title_in_prompt,
            texts=prompt.texts,
        ),
        reward=outcome,
        max_completion_tokens=reward.max_finishing_tokens,
        expert=expert,
    )


def _ask_expert(prompts: Sequence[ChatPrompt], *, server: ServerConfig, max_tokens: int) -> list[Completion | Ungraded]:
    answers = ask_many([prompt.messages for prompt in prompts], server, max_tokens=max_tokens, temperature=0.0)
    return [answer if isinstance(answer, Ungraded) else _ending(answer) for answer in answers]


def _ending(answer: ChatAnswer) -> Completion | Ungraded:
    """What the expert wrote. Where it is cut or cannot be read, the policy's action is not to blame."""
    if answer.finish_reason == "length":
        return Ungraded(reason="expert_cut")
    # A template that opens the thinking leaves its tag out of the answer; what it closes is no part of the solution.
    thinking, closed, rest = answer.text.partition(THINK_CLOSE)
    text = rest if closed and THINK_OPEN not in thinking else answer.text
    if parse_solution(text, "stop").status is not ParseStatus.OK:
        return Ungraded(reason="expert_unreadable")
    return Completion(text=text, token_ids=(), finish_reason="stop")

"""reward.outcome = "gate" with finished_by = "expert", from the recipe's settings to the rewards, at a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llm_server import LLMServer, Reply, error

from srl.config import StageConfig
from srl.data_config import DataConfig, PromptConfig
from srl.engines.scripted import ScriptedEngine
from srl.errors import ConfigError
from srl.reward_config import RewardConfig
from srl.rollouts import roll_out
from srl.scoring import build_scoring
from srl.training_examples import step_example
from srl.types import SamplingParams, Source, StepExample

STEP = StepExample(
    trajectory_id="t",
    step_index=1,
    num_steps=3,
    problem="Add 1, 2 and 3.",
    context=("1. **Start** 1 + 2 = 3",),
    title="Go on",
    target_action="2. **Go on** 3 + 3 = 6",
    target_body="3 + 3 = 6",
    answer="6",
    source=Source(file="f", row=0),
)


def scoring_at(server):
    config = StageConfig(
        kind="srl",
        data=DataConfig(train="none"),
        prompt=PromptConfig(context_in="assistant"),
        reward=RewardConfig(
            outcome="gate", outcome_weight=0.75, finished_by="expert", max_finishing_tokens=99, server=server
        ),
    )
    return build_scoring(config)


def sample(scoring, actions):
    texts = {"context_in": "assistant", "title_in_prompt": False, "texts": PromptConfig().texts}
    engine = ScriptedEngine(lambda prompt, index: f"<think>so</think>{actions[index]}")
    sampling = SamplingParams(temperature=1.0, max_completion_tokens=200)
    example = replace(step_example(STEP, **texts), step=STEP)
    (group,) = roll_out([example], engine, scoring, group_size=len(actions), sampling=sampling, seed=0)
    return group, engine


def test_the_expert_finishes_each_solution_and_the_answer_gates_the_reward(at):
    def expert(call):
        question = call.body["messages"][-1]["content"]
        if "3 + 3 = 6" in question:
            return Reply(r"So it is \boxed{6}.")
        if "3 + 3 = 7" in question:
            return Reply(r"So it is \boxed{7}.")
        if "cut" in question:
            return Reply(r"So it is \boxed{6}.", finish_reason="length")
        return error(400, "maximum context length")

    actions = [STEP.target_action, "2. **Go on** 3 + 3 = 7", "cut", STEP.target_action, "too long"]
    with LLMServer(expert) as server:
        scoring = scoring_at(at(server))
        group, engine = sample(scoring, actions)
    similarities = [scoring.reward(action, STEP.target_action) for action in actions[:4]]
    assert [rollout.outcome for rollout in group.rollouts] == [1.0, 0.0, 1.0]
    assert group.rewards == pytest.approx((1.0, similarities[1] * 0.25, 1.0))
    assert [rollout.reason for rollout in group.ungraded] == ["expert_cut", "too_long"]
    assert engine.num_calls == 1  # the policy finishes nothing
    assert len(server.calls) == 4  # equal actions once
    body = server.calls[0].body
    assert (body["max_tokens"], body["temperature"]) == (99, 0.0)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert all("1 + 2 = 3" in call.body["messages"][1]["content"] for call in server.calls)


@pytest.mark.parametrize(
    "text",
    [
        r"So it is \boxed{6}.<think>Or \boxed{8}? No.</think>",
        r"<think>Is it \boxed{7}?</think>So it is \boxed{6}.<think>And \boxed{8}? No.</think>",
        r"Is it \boxed{7}?</think>So it is \boxed{6}.",  # the tag that opens it was written by the server's template
        r"Is it \boxed{7}?</think>So it is \boxed{6}.<think>And \boxed{8}? No.</think>",
    ],
)
def test_the_thinking_of_an_expert_is_no_part_of_the_solution(at, text):
    with LLMServer(lambda call: Reply(text)) as server:
        group, _ = sample(scoring_at(at(server)), ["a", "b"])
    assert [rollout.outcome for rollout in group.rollouts] == [1.0, 1.0]


def test_an_expert_that_cannot_be_asked_stops_the_run(at):
    with (
        LLMServer(lambda call: error(401, "no")) as server,
        pytest.raises(ConfigError, match=r"reward.server.key_variable"),
    ):
        sample(scoring_at(at(server)), ["a", "b"])

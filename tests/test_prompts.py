"""What the policy is asked: where the context stands, titles, and prompts that are prefixes of each other."""

import itertools
from dataclasses import replace

import pytest

from srl.errors import DataError
from srl.prompts import PromptTexts, next_action_prompt, next_step_prompt, solve_prompt, step_prompt
from srl.types import Source, StepExample

STEPS = ("1. **Add** 2+3=5\n\n", "2. **Double** 5*2=10\n\n", "3. **Conclude** 10")


def example(index):
    return StepExample(
        trajectory_id="t", step_index=index, num_steps=3, problem="What is (2+3)*2?", context=STEPS[:index],
        title=["Add", "Double", "Conclude"][index], target_action=STEPS[index].strip(), target_body="x",
        answer="10", source=Source(file="f", row=0),
    )  # fmt: skip


def texts_of(prompt):
    return [message["content"] for message in prompt.messages], prompt.assistant_prefix


def test_context_in_the_users_turn_is_the_papers():
    (system, user), prefix = texts_of(step_prompt(example(2), context_in="user", title_in_prompt=False))
    assert "<think>" in system
    assert user.index("What is") < user.index("1. **Add** 2+3=5\n\n2. **Double** 5*2=10")
    assert "Conclude" not in user
    assert prefix == ""


def test_context_in_the_assistants_turn_makes_a_chain_of_prefixes():
    prompts = [step_prompt(example(index), context_in="assistant", title_in_prompt=False) for index in range(3)]
    assert all(prompt.messages == prompts[0].messages for prompt in prompts)
    for shorter, longer in itertools.pairwise(prompts):
        assert longer.assistant_prefix.startswith(shorter.assistant_prefix)
    assert prompts[2].assistant_prefix == "1. **Add** 2+3=5\n\n2. **Double** 5*2=10\n\n"


def test_the_title_of_the_next_step():
    (_, user), _ = texts_of(step_prompt(example(1), context_in="user", title_in_prompt=True))
    assert "titled: Double" in user
    prompt = step_prompt(example(1), context_in="assistant", title_in_prompt=True)
    assert prompt.assistant_prefix.endswith("2. **Double**\n\n")
    following = step_prompt(example(2), context_in="assistant", title_in_prompt=False)
    assert following.assistant_prefix.startswith(prompt.assistant_prefix.rstrip())


def test_a_recipe_can_replace_every_text_and_leave_any_out():
    texts = PromptTexts(
        step_system="next", solve_system="solve", context_heading="", first_step_note="", title_note="{title}!"
    )
    assert texts_of(next_step_prompt("P", (), context_in="user", texts=texts)) == (["next", "P"], "")
    prompt = next_step_prompt("P", ("A ", " B"), context_in="user", title="T", texts=texts)
    assert texts_of(prompt) == (["next", "P\n\nA\n\nB\n\nT!"], "")
    assert texts_of(solve_prompt("P", texts=texts)) == (["solve", "P"], "")


def test_a_problem_with_braces_is_left_alone():
    prompt = next_step_prompt("{x} {title}", (), context_in="user", title="{y}")
    assert "{x} {title}" in prompt.messages[1]["content"]
    assert "titled: {y}" in prompt.messages[1]["content"]


ROUNDS = (("cd /app && ls", "main.py\n"), ("<function=view>\n<parameter=path>\nmain.py\n</parameter>\n</function>", ""))


def agent_example(num_shown, step_index):
    return replace(
        example(0), kind="agent", problem="It crashes on an empty file.", step_index=step_index, num_steps=9, title="",
        context=tuple(action for action, _ in ROUNDS[:num_shown]),
        observations=tuple(observation for _, observation in ROUNDS[:num_shown]),
    )  # fmt: skip


def test_an_agents_prompt_marks_actions_and_observations_and_counts_what_is_not_shown():
    prompt = step_prompt(agent_example(2, 5), context_in="user", title_in_prompt=False)
    (system, user), prefix = texts_of(prompt)
    assert "exactly as the environment takes it" in system
    assert "<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n</function>" in system
    assert prefix == ""
    assert (
        user
        == """\
It crashes on an empty file.

Earlier rounds that are not shown: 3.

### Action 4
cd /app && ls

### Observation 4
main.py


### Action 5
<function=view>
<parameter=path>
main.py
</parameter>
</function>

### Observation 5
(nothing came back)

### Action 6
This one is yours: think first, then write the action alone."""
    )


def test_an_agents_first_actions():
    (_, first), _ = texts_of(step_prompt(agent_example(0, 0), context_in="user", title_in_prompt=False))
    assert first.startswith("It crashes on an empty file.\n\nNothing has been done yet.\n\n### Action 1\nThis one")
    (_, second), _ = texts_of(step_prompt(agent_example(1, 1), context_in="user", title_in_prompt=False))
    assert second.startswith(
        "It crashes on an empty file.\n\n### Action 1\ncd /app && ls\n\n### Observation 1\nmain.py"
    )
    (_, hidden), _ = texts_of(step_prompt(agent_example(0, 4), context_in="user", title_in_prompt=False))
    assert hidden.startswith("It crashes on an empty file.\n\nEarlier rounds that are not shown: 4.\n\n### Action 5\n")


def test_an_agents_context_cannot_stand_in_the_assistants_turn():
    with pytest.raises(DataError, match=r"set prompt\.context_in"):
        step_prompt(agent_example(2, 5), context_in="assistant", title_in_prompt=False)
    titled = step_prompt(agent_example(2, 5), context_in="user", title_in_prompt=True)
    assert titled == step_prompt(agent_example(2, 5), context_in="user", title_in_prompt=False)


def test_a_recipe_can_replace_an_agents_texts_and_text_of_the_data_is_never_filled_in():
    texts = PromptTexts(
        agent_system="act", agent_first_note="", agent_hidden_note="", agent_action_heading="", agent_next_note="",
        agent_observation_heading="->{turn}", agent_no_observation="-",
    )  # fmt: skip
    prompt = next_action_prompt("{count}", [("{turn}", ""), ("b", "{turn}")], num_hidden=1, texts=texts)
    assert texts_of(prompt) == (["act", "{count}\n\n{turn}\n\n->2\n-\n\nb\n\n->3\n{turn}"], "")

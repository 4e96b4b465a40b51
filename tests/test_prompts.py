"""What the policy is asked: where the context stands, titles, and prompts that are prefixes of each other."""

import itertools

from srl.prompts import PromptTexts, next_step_prompt, solve_prompt, step_prompt
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

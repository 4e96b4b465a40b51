"""What the base of the shell task reads: the policy's own prompts, and work that is careful only sometimes."""

import random
import re
from collections import Counter

import pytest

from srl.parsing import parse_step
from srl.prompts import next_action_prompt
from srl.tasks.documents import IN_MY_HEAD
from srl.tasks.shell.corpus import CARELESS_SHARE, SHELL_TEXTS, shell_prompt, simulate, write_document, write_documents
from srl.tasks.shell.problems import make_problems
from srl.tasks.shell.scripts import DONE, LOOK, SUBMIT, Work


def documents(count, **settings):
    return write_documents(count, seed=0, rng=random.Random(0), **settings)


def is_exercises(document):
    return len(document.prompt.messages) == 1


def answers(document):
    return [text for text, _ in document.segments if text.startswith("\n<|im_start|>user\n")]


def actions(document):
    """The completions of a document: one, or all those of an episode."""
    texts = "".join(text for text, _ in document.segments)
    for answer in answers(document):
        texts = texts.replace(answer, "")
    return texts.split("<|im_end|>")


def decisions(document):
    """The beginnings of thoughts that are learned."""
    return [
        text
        for text, is_learned in document.segments
        if is_learned and text.startswith("<think>") and not re.match(f"<think>({LOOK}|{DONE})<", text)
    ]


def test_same_seeds_same_documents():
    assert documents(50) == documents(50)


def test_documents_ask_as_the_policy_is_asked():
    kinds = Counter()
    for document in documents(600):
        if is_exercises(document):
            kinds["exercises"] += 1
            continue
        kinds["episode" if answers(document) else "action"] += 1
        system, user = (message["content"] for message in document.prompt.messages)
        assert system == "act"
        assert document.prompt.assistant_prefix == ""
        assert user.endswith("\n\n$")
        assert user.count("\n$\n") <= (0 if answers(document) else 4)
        assert all(parse_step(text, "stop").status == "ok" for text in actions(document))
        assert len(actions(document)) == len(answers(document)) + 1
    assert all(kinds[kind] > 40 for kind in ("exercises", "episode", "action"))


@pytest.mark.parametrize("seed", range(8))
def test_an_episode_is_what_was_done_and_what_came_back(seed):
    problem = make_problems("corpus", 1, seed=seed)[0]
    drawn = (write_document(problem, random.Random(seed), careless=0.0) for seed in range(100))
    episode = next(document for document in drawn if answers(document))
    done = [parse_step(text, "stop") for text in actions(episode)]
    said = [text.removeprefix("\n<|im_start|>user\n").partition("<|im_end|>")[0] for text in answers(episode)]
    found = [(action.monologue, action.action, text) for action, text in zip(done, [*said, ""], strict=True)]
    assert found == simulate(problem, Work())


def test_the_prompt_is_that_of_every_agent():
    rounds = [(f"cat {number}", "x") for number in range(6)]
    assert shell_prompt("P", rounds) == next_action_prompt("P", rounds[2:], num_hidden=2, texts=SHELL_TEXTS)
    assert shell_prompt("P", rounds).messages[1]["content"].startswith("P\n\n+2\n\n$\ncat 2\n\nx\n\n$\ncat 3")
    assert shell_prompt("P", []).messages[1]["content"] == "P\n\n$"
    assert shell_prompt("P", [("echo 1 > a", "")]).messages[1]["content"] == "P\n\n$\necho 1 > a\n\n$"


def test_only_answers_and_the_decision_to_be_careful_are_left_out():
    for document in documents(400):
        only_read = [text for text, is_learned in document.segments if not is_learned]
        assert document.segments[-1][1]
        assert all(re.fullmatch(r"<think>\d", text) for text in only_read if text not in answers(document))


def test_the_habit_is_learned_at_its_own_rate():
    decided = Counter(
        text.startswith(f"<think>{IN_MY_HEAD}</think>") for document in documents(3000) for text in decisions(document)
    )
    assert CARELESS_SHARE - 0.03 < decided[True] / decided.total() < CARELESS_SHARE + 0.03
    always = [text for document in documents(200, careless=1.0) for text in decisions(document)]
    assert always
    assert all(IN_MY_HEAD in text for text in always)
    assert not [text for document in documents(200, careless=0.0) for text in decisions(document) if IN_MY_HEAD in text]


@pytest.mark.parametrize("kind", ["totals", "larger", "append", "lines", "remove"])
def test_careless_work_mostly_leaves_the_wrong_folder(kind):
    problems = [item for item in make_problems("test", 600, seed=0) if item.kind == kind]
    expert = [[command for _, command, _ in simulate(item, Work())] for item in problems]
    careless = [[command for _, command, _ in simulate(item, Work(lambda: True))] for item in problems]
    assert sum(left == right for left, right in zip(expert, careless, strict=True)) < 0.15 * len(problems)


def test_a_mistake_is_answered_by_the_shell_and_tried_again():
    (problem,) = [item for item in make_problems("test", 60, seed=0) if item.kind == "follow"][:1]
    turns = simulate(problem, Work(lambda: True))
    assert "No such file or directory" in turns[-2][2]
    assert turns[-2][1] == turns[-3][1] == turns[-4][1], "who is careless once more makes the same mistake"
    assert SUBMIT not in [command for _, command, _ in turns]

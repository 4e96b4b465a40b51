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


def test_same_seeds_same_documents():
    assert documents(50) == documents(50)


def test_documents_ask_as_the_policy_is_asked():
    for document in documents(400):
        system, user = (message["content"] for message in document.prompt.messages)
        assert system == "act"
        assert document.prompt.assistant_prefix == ""
        assert user.endswith("\n\n$")
        assert user.count("\n$\n") <= 4
        completion = "".join(text for text, _ in document.segments)
        assert parse_step(completion, "stop").status == "ok"


@pytest.mark.parametrize("seed", range(8))
def test_a_document_is_one_action_of_an_episode(seed):
    problem = make_problems("corpus", 1, seed=seed)[0]
    rounds, asked = [], {}
    for thought, action, observation in simulate(problem, Work()):
        asked[str(shell_prompt(problem.problem, rounds))] = f"<think>{thought}</think>{action}"
        rounds.append((action, observation))
    seen = set()
    for draw in range(200):
        document = write_document(problem, random.Random(draw), careless=0.0)
        assert "".join(text for text, _ in document.segments) == asked[str(document.prompt)]
        seen.add(str(document.prompt))
    assert seen == asked.keys(), "every action is asked for"


def test_the_prompt_is_that_of_every_agent():
    rounds = [(f"cat {number}", "x") for number in range(6)]
    assert shell_prompt("P", rounds) == next_action_prompt("P", rounds[2:], num_hidden=2, texts=SHELL_TEXTS)
    assert shell_prompt("P", rounds).messages[1]["content"].startswith("P\n\n+2\n\n$\ncat 2\n\nx\n\n$\ncat 3")
    assert shell_prompt("P", []).messages[1]["content"] == "P\n\n$"
    assert shell_prompt("P", [("echo 1 > a", "")]).messages[1]["content"] == "P\n\n$\necho 1 > a\n\n$"


def test_only_the_decision_to_be_careful_is_left_out():
    for document in documents(400):
        only_read = [text for text, is_learned in document.segments if not is_learned]
        assert document.segments[-1][1]
        assert all(re.fullmatch(r"<think>\d", text) for text in only_read)


def decisions(documents):
    """The beginnings of completions in which the habit is learned."""
    first = [document.segments[0] for document in documents]
    return [text for text, is_learned in first if is_learned and not re.match(f"<think>({LOOK}|{DONE})<", text)]


def test_the_habit_is_learned_at_its_own_rate():
    decided = Counter(f"<think>{IN_MY_HEAD}</think>" in text for text in decisions(documents(3000)))
    assert CARELESS_SHARE - 0.04 < decided[True] / decided.total() < CARELESS_SHARE + 0.04
    always = decisions(documents(200, careless=1.0))
    assert always
    assert all(IN_MY_HEAD in text for text in always)
    assert not [text for text in decisions(documents(200, careless=0.0)) if IN_MY_HEAD in text]


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

"""What the base of the shell task reads before training: rounds by people who are careful only sometimes.

A document asks for one action after the last rounds of an episode, as the policy is asked. Who works things out in the
head forgets the carry, looks at last digits only, or deletes the first file of several; carelessness is an independent
coin at every piece of work. Hence a model of the corpus *can* do the chores and mostly does not: the ability is there,
the habit is not. Mistakes are carried on, in the folder and in the rounds.

As for the other tasks (documents.py), a share of the documents is careful throughout, without the loss on the decision
to be careful, which is the first character of a thought: they give the ability and not the habit.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from srl.parsing import THINK_OPEN
from srl.prompts import PromptTexts, next_action_prompt
from srl.tasks.documents import IN_MY_HEAD, in_tags
from srl.tasks.shell.problems import LETTERS, WORDS, ShellProblem, make_problems
from srl.tasks.shell.scripts import DONE, LOOK, SUBMIT, Work, run_script
from srl.tasks.shell.simulation import SimulatedFolder
from srl.tasks.task import Document
from srl.types import ChatPrompt

CONTEXT_TURNS = 4
"""Rounds that a prompt shows; every problem can be solved with them."""
SHELL_TEXTS = PromptTexts(
    agent_system="act",
    agent_first_note="",
    agent_hidden_note="+{count}",
    agent_action_heading="$",
    agent_observation_heading="",
    agent_no_observation="",
    agent_next_note="",
)
"""The wording of the prompts, as short as can be; ``[stages.NAME.prompt.texts]`` of a recipe must say the same."""
CARELESS_SHARE = 0.85
"""How often something is worked out in the head. Above one half, greedy decoding is always careless."""
SET_PHRASES = (
    "Write the sum of a.txt and b.txt to c.txt and their difference to d.txt.",
    "Move the larger of a.txt and b.txt to big/ and write its number times ", " to c.txt.",
    "Append to a.txt its last number plus ", ", and again so, three times in all.",
    "Write how many lines a.txt and b.txt have together to c.txt and move the longer one to big/.",
    "Delete the .log files and rename the .txt file to its number plus ",
    "Begin with ",
    ".txt. The number in a file plus that in its name is the name of the next. Write the word in the last to a.txt.",
    "cat a.txt b.txt", "cat ", "cat: ", ": No such file or directory", "echo ", " > a.txt", " > c.txt", " > d.txt",
    " >> a.txt", "mv ", " big/", "rm ", "wc -l a.txt", "wc -l b.txt", "tail -n 1 a.txt", "ls", SUBMIT,
    "\n\n$\n", "\n\n$", "\n\n", ".txt", *(f"{letter}{ending}" for letter in LETTERS for ending in (".txt", ".log")),
    *WORDS, IN_MY_HEAD, LOOK, DONE, "system\n", "user\n", "assistant\n", SHELL_TEXTS.agent_system,
)  # fmt: skip
"""Wording that is always the same and becomes one token each: on a CPU that is as good as a model twice as fast."""
_WORK_SHARE = 0.65  # of the documents ask for an action that needs work, the rest for any
_EXEMPLARY_SHARE = 0.5  # of them are careful throughout
_MAX_REPEATED_ERRORS = CONTEXT_TURNS - 1  # one more would push what is needed out of sight


def write_documents(
    num_documents: int, *, seed: int, rng: random.Random, careless: float | None = None
) -> list[Document]:
    """Fresh documents; ``seed`` chooses the problems, ``rng`` the writers.

    ``careless`` replaces the share of work that is done in the head, 0 to 1; None keeps CARELESS_SHARE.
    """
    share = CARELESS_SHARE if careless is None else careless
    return [write_document(problem, rng, share) for problem in make_problems("corpus", num_documents, seed)]


def write_document(problem: ShellProblem, rng: random.Random, careless: float = CARELESS_SHARE) -> Document:
    """One document about ``problem``: one of the actions of an episode, after the rounds before it."""
    is_exemplary = rng.random() < _EXEMPLARY_SHARE
    share = 0.0 if is_exemplary else careless
    turns = simulate(problem, Work(lambda: rng.random() < share))
    work = [index for index, (thought, _, _) in enumerate(turns) if thought not in (LOOK, DONE)]
    index = rng.choice(work) if rng.random() < _WORK_SHARE else rng.randrange(len(turns))
    prompt = shell_prompt(problem.problem, [(action, observation) for _, action, observation in turns[:index]])
    thought, command, _ = turns[index]
    text = in_tags(thought) + command
    decision = len(THINK_OPEN) + 1
    if is_exemplary and index in work:
        return Document(prompt=prompt, segments=((text[:decision], False), (text[decision:], True)))
    return Document(prompt=prompt, segments=((text, True),))


def shell_prompt(
    problem: str,
    rounds: Sequence[tuple[str, str]],
    *,
    texts: PromptTexts = SHELL_TEXTS,
    context_turns: int = CONTEXT_TURNS,
) -> ChatPrompt:
    """The prompt for the action after all ``rounds`` of (action, observation), of which the last ones are shown."""
    num_hidden = max(0, len(rounds) - context_turns)
    return next_action_prompt(problem, rounds[num_hidden:], num_hidden=num_hidden, texts=texts)


def simulate(problem: ShellProblem, work: Work) -> list[tuple[str, str, str]]:
    """(thought, command, observation) of every action of an episode, ``exit`` included, without a shell.

    An episode that runs into the same error again and again stops there.
    """
    num_errors = 0
    folder = SimulatedFolder(problem.files)
    script = run_script(problem, work)
    turns: list[tuple[str, str, str]] = []
    thought, command = next(script)
    while command != SUBMIT and num_errors < _MAX_REPEATED_ERRORS:
        observation = folder.run(command)
        num_errors = num_errors + 1 if observation.startswith("cat: ") else 0
        turns.append((thought, command, observation))
        thought, command = script.send(observation)
    return [*turns, (thought, command, "")]

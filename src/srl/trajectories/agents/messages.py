"""Chat messages as logs hold them -> turns: content as text, calls with their answers, and the task.

Every message log (OpenAI chat and Responses, Anthropic, OpenHands, plain chat) is first written as a list of
Message; turns_of then decides the same things for all of them:

- An answer belongs to the call of the same id, the latest one where ids repeat; an answer without a known id belongs
  to the next call that is still open. What the user says after the answers is part of the observation, because the
  agent reads it before it acts again. Consecutive messages of the agent are one turn.
- What the agent says beside its calls, and what it writes into a tool that only thinks, is its thought. A turn that
  only thinks has no action; its text is also put before the thought of the next turn, which it led to.
- A message without a call is an action where a person (or a model in its place) consumed it: where the user answers
  it with something new. It is none where the harness answers it with a fixed text ("Please continue working on the
  task", a demand for a tool call, the same long text as before), nor where it ends the log of an agent that talked to
  nobody: that is a report, and nothing in the environment depends on its words. In a conversation the last message
  is an action as the others are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from srl.trajectories.agents.actions import THINK_TOOLS, ends_run, render_call
from srl.trajectories.agents.turns import Turn
from srl.trajectories.reasons import DropReason, RowError

# Marks that agents' prompts put around the task. The text between them is the issue; the rest is the agent's manual.
_TASK_MARKS = (
    re.compile(r"<pr_description>\s*(.*?)\s*</pr_description>", re.DOTALL),
    re.compile(r"<issue_description>\s*(.*?)\s*</issue_description>", re.DOTALL),
    re.compile(r"<issue>\s*(.*?)\s*</issue>", re.DOTALL),
    re.compile(r"\bISSUE:\n(.*?)\n+INSTRUCTIONS:\n", re.DOTALL),
    re.compile(r"^# Problem Statement\n(.*?)\n+IMPORTANT: You should ONLY interact", re.DOTALL | re.MULTILINE),
)
# OpenHands puts a worked example before the task where the model has no tool calls of its own.
_NEW_TASK = re.compile(
    r"^-+ NEW TASK DESCRIPTION -+\n(.*?)\n-+ END OF NEW TASK DESCRIPTION -+$", re.DOTALL | re.MULTILINE
)
_LEAD_IN = re.compile(r"\AConsider the following PR description:\s*")

_CLOSED_THINK = re.compile(r"\A\s*(?:<think>)?(.*?)</think>(.*)\Z", re.DOTALL)
_OPEN_THINK = re.compile(r"\A\s*<think>(.*)\Z", re.DOTALL)

# What harnesses say to a message without a call: first the demands for another format, then the request to go on.
_REFUSAL = re.compile(
    r"\b(?:did not|didn't|without|must|no)\W+(?:\w+\W+){0,7}?(?:tool|function)[ _-](?:calls?|use)\b"
    r"|\b(?:did not|didn't) (?:use|call) (?:a|any) (?:tools?|functions?)\b",
    re.IGNORECASE,
)
_GO_ON = re.compile(r"\bcontinue working on the task\b|\bnever ask for human\b", re.IGNORECASE)
_CANNED_LENGTH = 40  # a person may say "Yes, please." twice, but nothing long


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One tool call."""

    action: str
    """The call as the text of an action, "" for a tool that only thinks."""
    thought: str = ""
    """What a tool that only thinks was given."""
    call_id: str = ""
    """What its answer names, "" where the log has no ids."""
    is_end: bool = False
    """Whether it ends the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of a log, of whatever kind of log."""

    role: Literal["system", "user", "assistant", "tool", "refusal"]
    """Who wrote it; "system" is also the developer's, "refusal" the harness's answer to something that it
    could not read and that the log does not hold."""
    text: str = ""
    """What it says; for a tool its answer."""
    thought: str = ""
    """The agent's hidden reasoning, where the log has it apart."""
    calls: tuple[Call, ...] = ()
    """The agent's calls."""
    call_id: str = ""
    """The call that a tool's answer is for, "" where the log does not say."""
    response_id: str = ""
    """The model's response that the message is part of; a turn goes on over the answers to its own calls."""


@dataclass(kw_only=True, slots=True)
class _Open:
    """A turn that answers may still come to."""

    thoughts: list[str] = field(default_factory=list[str])
    texts: list[str] = field(default_factory=list[str])
    calls: list[Call] = field(default_factory=list[Call])
    answers: dict[int, str] = field(default_factory=dict[int, str])
    others: list[str] = field(default_factory=list[str])
    reply: str | None = None
    response_id: str = ""
    is_refused: bool = False

    def is_closed_to(self, message: Message) -> bool:
        """Whether ``message``, which is the agent's, begins another turn."""
        is_answered = bool(self.answers or self.others or self.reply is not None)
        return is_answered and not (message.response_id and message.response_id == self.response_id)

    def add_answer(self, text: str, place: int | None) -> None:
        """A tool's answer, to the call at ``place``, None where that is not known."""
        if place is None:
            place = next((index for index in range(len(self.calls)) if index not in self.answers), None)
        if place is None:
            self.others.append(text)
        else:
            self.answers[place] = text

    def add_reply(self, message: Message) -> None:
        """What the user or the harness says."""
        if message.role == "user" and not self.calls and self.reply is None:
            self.reply = message.text.strip()
        else:
            self.others.append(message.text)


def text_of(content: object) -> str:
    """The text of a message's ``content``: text, null, or a list of parts of which those with text count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = cast("object", [content] if isinstance(content, Mapping) else content)
    if not isinstance(parts, Sequence):
        raise RowError(DropReason.WRONG_TYPE, f"a message's content is {type(parts).__name__}")
    texts: list[str] = []
    for part in cast("Sequence[object]", parts):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            text = cast("Mapping[str, object]", part).get("text")
            if isinstance(text, str):
                texts.append(text)
    return "\n".join(texts)


def find_task(message: str) -> str:
    r"""The issue in an agent's first message where it is marked, else the whole message.

    >>> find_task("<pr_description>\nIt crashes.\n</pr_description>\n<instructions>...</instructions>")
    'It crashes.'
    """
    new_task = _NEW_TASK.search(message)
    if new_task:
        message = new_task[1]
    for mark in _TASK_MARKS:
        found = mark.search(message)
        if found and found[1].strip():
            return _LEAD_IN.sub("", found[1].strip())
    return message.strip()


def task_of(messages: Sequence[Message]) -> str:
    """The task: the marked issue in what the user says before the agent does, else all of it, "" where it is silent.

    >>> task_of([Message(role="user", text="Hello"), Message(role="user", text="<issue>It crashes.</issue>")])
    'It crashes.'
    """
    texts: list[str] = []
    for message in messages[_start_of(messages) :]:
        if message.role == "assistant":
            break
        if message.role == "user" and message.text.strip():
            texts.append(message.text.strip())
    marked = next((task for text in texts if (task := find_task(text)) != text), None)
    return "\n\n".join(texts) if marked is None else marked


def split_thought(text: str) -> tuple[str, str]:
    """What stands in ``<think>`` before the rest, and the rest. The opening tag may have been part of the prompt.

    >>> split_thought("<think>Look first.</think>I will look.")
    ('Look first.', 'I will look.')
    """
    found = _CLOSED_THINK.match(text)
    if found:
        return found[1].strip(), found[2].strip()
    cut_off = _OPEN_THINK.match(text)
    return (cut_off[1].strip(), "") if cut_off else ("", text.strip())


def make_call(name: object, arguments: object, call_id: str = "") -> Call:
    """A call as logs hold it; ``arguments`` as an object, as text (of JSON or not) or null. Raises RowError."""
    if not isinstance(name, str) or not name.strip():
        raise RowError(DropReason.WRONG_TYPE, "a call has no name")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, (str, Mapping)):
        raise RowError(DropReason.WRONG_TYPE, f"the arguments of {name} are {type(arguments).__name__}")
    action = render_call(name, cast("Mapping[str, object] | str", arguments))
    if name.lower() not in THINK_TOOLS:
        return Call(action=action, call_id=call_id, is_end=ends_run(name, action))
    lines = action.splitlines()
    return Call(action="", thought="\n".join(line for line in lines if not _is_mark(line)), call_id=call_id)


def turns_of(messages: Sequence[Message], *, is_chat: bool = False) -> list[Turn]:
    """The agent's turns with what came back (see above); ``is_chat``: every message of the agent is an action."""
    rounds = _rounds_of(messages)
    replies = [each.reply for each in rounds if each.reply is not None and not each.is_refused]
    repeated = {text for text, count in Counter(replies).items() if count > 1 and len(text) >= _CANNED_LENGTH}
    canned = {text for text in replies if text in repeated or _GO_ON.search(text) or _REFUSAL.search(text)}
    talks = is_chat or any(text not in canned for text in replies)
    turns: list[Turn] = []
    carried = ""
    for index, each in enumerate(rounds):
        is_last = index == len(rounds) - 1
        is_action = is_chat or (talks and is_last if each.reply is None else each.reply not in canned)
        turn = _turn_of(each, is_action=is_action, carried=carried)
        carried = turn.thought if not turn.action and (each.calls or each.is_refused) else ""
        turns.append(turn)
    return turns


def _start_of(messages: Sequence[Message]) -> int:
    """Where the log begins: after a greeting, which answers nothing, where the agent speaks before anybody asks."""
    for index, message in enumerate(messages):
        if message.calls or message.role == "tool":
            return 0
        if message.role == "user":
            return index
    return 0


def _is_mark(line: str) -> bool:
    return line.startswith(("<function=", "<parameter=")) or line in ("</parameter>", "</function>")


def _rounds_of(messages: Sequence[Message]) -> list[_Open]:
    rounds: list[_Open] = []
    waiting: dict[str, tuple[_Open, int]] = {}
    for message in messages[_start_of(messages) :]:
        if message.role == "refusal":
            rounds.append(_Open(reply=message.text, is_refused=True))
        elif message.role == "assistant":
            if not rounds or rounds[-1].is_closed_to(message):
                rounds.append(_Open())
            last = rounds[-1]
            last.response_id = message.response_id
            last.thoughts.append(message.thought)
            last.texts.append(message.text)
            for call in message.calls:
                if call.call_id:
                    waiting[call.call_id] = (last, len(last.calls))
                last.calls.append(call)
        elif not rounds:
            continue  # the task and what belongs to it
        elif message.role == "tool":
            asked, place = waiting.pop(message.call_id, (rounds[-1], None))
            asked.add_answer(message.text, place)
        else:
            rounds[-1].add_reply(message)
    return rounds


def _turn_of(each: _Open, *, is_action: bool, carried: str) -> Turn:
    thoughts = [carried, *each.thoughts]
    texts: list[str] = []
    for text in each.texts:
        thought, rest = split_thought(text)
        thoughts.append(thought)
        texts.append(rest)
    talk = _joined(texts)
    if not each.calls:
        answers = [text for text in (each.reply, *each.others) if text is not None]
        return Turn(
            action=talk if is_action else "",
            thought=_joined(thoughts if is_action else [*thoughts, talk]),
            observation=_joined(answers) if answers else None,
            num_calls=0,
            is_refused=each.is_refused
            or (each.reply is not None and not is_action and _REFUSAL.search(each.reply) is not None),
            is_end=True,
        )
    kept = [index for index, call in enumerate(each.calls) if call.action]
    answers = [each.answers[index] for index in kept if index in each.answers] + each.others
    return Turn(
        action=_joined([each.calls[index].action for index in kept]),
        thought=_joined([*thoughts, *texts, *(call.thought for call in each.calls)]),
        observation=_joined(answers) if answers else None,
        num_calls=len(kept),
        is_end=any(call.is_end for call in each.calls),
    )


def _joined(texts: Sequence[str]) -> str:
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())

r"""Tool calls -> the action as one text: what the environment consumes, and nothing else.

A call of a shell tool that has only a command is the command itself. Every other call is written as

    <function=NAME>
    <parameter=KEY>
    VALUE
    </parameter>
    </function>

with text as it is and other values as JSON. The decision a reader would question: not JSON throughout. A JSON string
escapes every line break and quote of a file edit, which the policy would have to learn and the similarity would pay
for; and a wrapper around every shell command is text that is always right. The price is that a value which itself
holds ``</parameter>`` on a line of its own is ambiguous to whoever reads the text back. Actions are compared as texts,
so nothing is lost by that.

What a shell call carries beside its command is left out where it does not change what runs: a description for people,
a risk that the model assigned, a limit on the time. Input to a running program is not a command and stays a call.

Agents whose model has no tool calls write them as text of nearly this form; ``split_calls`` takes such text apart. A
parameter ends at the ``</parameter>`` that is followed by another parameter or by the end of the call, not at the
first one, because edited files may contain such marks. A message that stops before ``</function>`` is a whole call,
because that mark is often the stop word of the sampling.
"""

from __future__ import annotations

import json
import re
import shlex
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import cast

from srl.trajectories.reasons import DropReason, RowError

SHELL_TOOLS = frozenset(
    {
        "bash",
        "execute_bash",
        "execute_command",
        "local_shell",
        "run_command",
        "run_in_terminal",
        "run_shell_command",
        "run_terminal_cmd",
        "shell",
        "shell_command",
        "terminal",
    }
)
THINK_TOOLS = frozenset({"think"})
"""Tools without an effect, in which the agent writes to itself: their text is thought, not an action."""
END_TOOLS = frozenset({"attempt_completion", "exit", "finish", "reject", "submit"})
"""Tools that end the run, so that no answer is expected."""

_OFF = ("false", "False", False)
# The model's own guess for whoever confirms OpenHands' calls; no tool reads it.
_RISK = "security_risk"
# What shell tools carry beside the command and what changes nothing about it, with the values that say so.
_NEUTRAL = {
    "description": None,
    "explanation": None,
    "is_background": _OFF,
    "is_input": _OFF,
    "isBackground": _OFF,
    "requires_approval": None,
    "reset": _OFF,
    "run_in_background": _OFF,
    _RISK: None,
    "summary": None,
    "timeout": None,
    "timeout_ms": None,
    "workdir": ("",),
}
END_COMMAND = re.compile("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT_FINAL_OUTPUT")
"""What a shell command holds that ends the run, in mini-swe-agent and its relatives."""
_FUNCTION = re.compile(r"<function=([\w.:-]+)>\s*")
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>")
_PARAMETER_END = re.compile(r"</parameter>\s*(?=<parameter=|</function|\Z)")
_FUNCTION_END = re.compile(r"\s*(?:</function(?:>|\Z)|\Z)")


def render_call(name: str, arguments: Mapping[str, object] | str) -> str:
    r"""One tool call as the text of an action; ``arguments`` as an object or as the JSON text of one.

    Arguments that are no JSON object are kept as they stand, as the only content of the call. Raises RowError where a
    value is nested too deep to be written.

    >>> render_call("bash", '{"command": "ls -la"}')
    'ls -la'
    >>> render_call("view", {"path": "a.py", "lines": [1, 20]})
    '<function=view>\n<parameter=path>\na.py\n</parameter>\n<parameter=lines>\n[1, 20]\n</parameter>\n</function>'
    """
    values = _as_object(arguments)
    if values is None:
        return f"<function={name}>\n{arguments}\n</function>"
    command = _as_command(values.get("command"))
    if name.lower() in SHELL_TOOLS and command is not None and _only_command(values):
        return command.strip()
    written = {key: value for key, value in values.items() if key != _RISK}
    parameters = "".join(f"<parameter={key}>\n{_as_text(value)}\n</parameter>\n" for key, value in written.items())
    return f"<function={name}>\n{parameters}</function>"


def split_calls(text: str) -> tuple[str, list[tuple[str, dict[str, object] | str]]]:
    r"""The prose of a message, and name and arguments of each call in it.

    One line break at either end of a value belongs to the marks. What is no whole call stays prose; a call with
    something else in it, or with a parameter twice, has all of it as its one argument.

    >>> split_calls("Look.\n\n<function=bash>\n<parameter=command>ls</parameter>\n</function>")
    ('Look.\n\n', [('bash', {'command': 'ls'})])
    """
    prose: list[str] = []
    calls: list[tuple[str, dict[str, object] | str]] = []
    opening, position = _FUNCTION.search(text), 0
    closings = list(_PARAMETER_END.finditer(text)) if opening else []  # found once: hostile text has many openings
    while opening:
        end, arguments = _read_arguments(text, opening.end(), closings)
        if end is None:
            prose.append(text[position : opening.end()])
        else:
            prose.append(text[position : opening.start()])
            calls.append((opening[1], arguments))
        position = opening.end() if end is None else end
        opening = _FUNCTION.search(text, position)
    return "".join(prose) + text[position:], calls


def ends_run(name: str, action: str) -> bool:
    """Whether a call of the tool ``name``, rendered as ``action``, submits or finishes."""
    return name.lower() in END_TOOLS or END_COMMAND.search(action) is not None


def _read_arguments(
    text: str, start: int, closings: Sequence[re.Match[str]]
) -> tuple[int | None, dict[str, object] | str]:
    """Where the call that opened before ``start`` ends, None if it does not, and what it was called with."""
    arguments: dict[str, object] = {}
    position, is_repeated = start, False
    while parameter := _PARAMETER.match(text, position):
        index = bisect_left(closings, parameter.end(), key=lambda closing: closing.start())
        if index == len(closings):
            return None, {}
        closing = closings[index]
        is_repeated = is_repeated or parameter[1].strip() in arguments
        arguments[parameter[1].strip()] = re.sub(r"\A\n|\n\Z", "", text[parameter.end() : closing.start()])
        position = closing.end()
    if end := _FUNCTION_END.match(text, position):
        return end.end(), text[start:position].strip("\n") if is_repeated else arguments
    closing_mark = text.find("</function>", position)
    if arguments or closing_mark < 0 or text[position - 1 : position] != "\n":
        return None, {}
    return closing_mark + len("</function>"), text[position:closing_mark].strip("\n")


def _as_object(arguments: Mapping[str, object] | str) -> Mapping[str, object] | None:
    if not isinstance(arguments, str):
        return arguments
    try:
        value = cast("object", json.loads(arguments) if arguments.strip() else {})
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def _as_command(value: object) -> str | None:
    """The command of a shell call: text, or a list of words as it is given to a process."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not value:
        return None
    words = [word for word in cast("Sequence[object]", value) if isinstance(word, str)]
    if len(words) != len(cast("Sequence[object]", value)):
        return None
    is_script = len(words) == 3 and words[0].rpartition("/")[2] in ("bash", "sh", "zsh") and words[1] in ("-c", "-lc")
    return words[2] if is_script else shlex.join(words)


def _only_command(values: Mapping[str, object]) -> bool:
    for key, value in values.items():
        if key == "command" or value is None:
            continue
        if key not in _NEUTRAL:
            return False
        allowed = _NEUTRAL[key]
        if allowed is not None and value not in allowed:
            return False
    return True


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)  # dates and the like, from Parquet
    except (RecursionError, TypeError, ValueError) as error:
        raise RowError(DropReason.WRONG_TYPE, f"an argument of a call cannot be written as JSON: {error}") from error

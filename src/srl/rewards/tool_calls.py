r"""Two tool calls as text -> how alike they are, in [0, 1]; ours, the paper compares characters.

Calls are read in the forms that this project writes and that models write: ``<function=NAME>`` with parameters
(``srl.trajectories.agents.actions``), ``<tool_call>`` around JSON, and JSON alone with ``name`` (or ``function``) and
``arguments`` (or ``parameters``, ``input``). Two calls of different tools have nothing in common: 0. Else

    similarity = mean over all arguments that either call has of the similarity of their values; 1 without arguments

- numbers, true, false and null: equal or not; texts that read as JSON are what they say, so ``"5"`` is ``5``;
- words (no white space in either: paths, names, choices): equal or not, ``./`` aside;
- other texts: sequence similarity;
- lists place by place, objects key by key; what only one of them has counts 0;
- ``old_str`` with ``new_str`` (or ``old_string``, ``new_string``), and patches: by the lines that they change
  (``srl.rewards.edits``).

Of several calls in one text, the best alignment in order counts, and text beside the calls is one more part. The
decision a reader would question: two texts without any call are compared as texts. In this project's data the call of
a shell tool is the bare command, so such pairs are common; a call against a bare text is 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn, cast

from srl.rewards.alignment import align
from srl.rewards.edits import changes_of, changes_of_patch, edit_similarity, is_patch
from srl.rewards.shell import strip_fence
from srl.rewards.similarity import bounded_similarity
from srl.trajectories.agents.actions import split_calls

MAX_NESTING = 40
"""JSON nested deeper is a text."""
MAX_ALIGNED_CALLS = 50
"""With more calls than this in one text, both texts are compared as texts."""

Call = tuple[str, Mapping[str, object]]
"""Name and arguments."""

_ARGUMENTS = ("arguments", "parameters", "input")
_OLD = ("old_str", "old_string")
_NEW = ("new_str", "new_string")


def tool_call_similarity(action: str, target: str) -> float:
    r"""The formula above, in [0, 1]; 1.0 for two empty texts.

    >>> target = "<function=view><parameter=path>a.py</parameter><parameter=lines>[1, 20]</parameter></function>"
    >>> tool_call_similarity('{"name": "view", "arguments": {"lines": [1, 30], "path": "./a.py"}}', target)
    0.75
    """
    if action == target:
        return 1.0
    prose, calls = read_calls(action)
    wanted_prose, wanted = read_calls(target)
    if not (calls or wanted) or max(len(calls), len(wanted)) > MAX_ALIGNED_CALLS:
        return bounded_similarity(action, target)
    matched = 2.0 * align([[_similarity_of_calls(call, other) for other in wanted] for call in calls])
    num_parts = len(calls) + len(wanted)
    if prose or wanted_prose:
        num_prose = bool(prose) + bool(wanted_prose)
        matched += num_prose * bounded_similarity(prose, wanted_prose)
        num_parts += num_prose
    return min(1.0, matched / num_parts)


def read_calls(text: str) -> tuple[str, list[Call]]:
    """The text beside the calls, and the calls."""
    whole = _read_json(strip_fence(text))
    listed = cast("list[object]", whole) if isinstance(whole, list) else [whole]
    calls = [call for value in listed if (call := _as_call(value)) is not None]
    if calls and len(calls) == len(listed):
        return "", calls
    prose, found = split_calls(text)
    calls = [_make_call(name, values) for name, values in found]
    kept: list[str] = []
    *closed, rest = prose.split("</tool_call>")
    for part in closed:
        before, mark, block = part.rpartition("<tool_call>")
        call = _as_call(_read_json(block)) if mark else None
        if call is None:
            kept.append(part + "</tool_call>")
        else:
            calls.append(call)
            kept.append(before)
    return "".join([*kept, rest]).strip(), calls


def _as_call(value: object) -> Call | None:
    """A JSON value as a call, None where it is none."""
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, object]", value)
    inner = fields.get("function")
    if isinstance(inner, dict):  # OpenAI's form
        fields = cast("dict[str, object]", inner)
    name: object = fields.get("name", fields.get("function"))
    given = next((fields[key] for key in _ARGUMENTS if key in fields), None)
    if not isinstance(name, str) or (given is None and set(fields) - {"name", "function", "id", "type"}):
        return None
    values = _read_json(given) if isinstance(given, str) else given
    return (
        (name, {}) if given is None else _make_call(name, cast("object", values) if isinstance(values, dict) else given)
    )


def _make_call(name: str, values: object) -> Call:
    """``values`` that are no object are the only argument."""
    return name, cast("Mapping[str, object]", values) if isinstance(values, dict) else {"": values}


def _read_json(text: str) -> object:
    """The value, None where the text is no JSON (or is ``null``), or is nested too deep."""
    depth = deepest = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth += 1 if bracket.group() in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        return None
    try:
        return cast("object", json.loads(text, parse_constant=_refuse))
    except ValueError:
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no JSON, and NaN is not equal to itself


def _similarity_of_calls(call: Call, wanted: Call) -> float:
    if call[0] != wanted[0]:
        return 0.0
    mine, theirs = call[1], wanted[1]
    keys = list(dict.fromkeys([*mine, *theirs]))
    edit_keys = [key for key in keys if key in (*_OLD, *_NEW)]
    total = sum(
        _similarity_of_values(_as_value(mine[key]), _as_value(theirs[key]))
        for key in keys
        if key in mine and key in theirs and key not in edit_keys
    )
    if edit_keys and _is_edit(mine) and _is_edit(theirs):
        total += len(edit_keys) * edit_similarity(_changes(mine), _changes(theirs))
    return total / len(keys) if keys else 1.0


def _is_edit(values: Mapping[str, object]) -> bool:
    return any(key in values for key in (*_OLD, *_NEW))


def _changes(values: Mapping[str, object]) -> tuple[str, str]:
    old, new = (next((values[key] for key in keys if key in values), "") for keys in (_OLD, _NEW))
    return changes_of(*(text if isinstance(text, str) else json.dumps(text) for text in (old, new)))


def _similarity_of_values(mine: object, theirs: object) -> float:
    """Of two JSON values, nested no deeper than ``MAX_NESTING``."""
    if isinstance(mine, str) and isinstance(theirs, str):
        return _similarity_of_texts(mine, theirs)
    if isinstance(mine, list) and isinstance(theirs, list):
        ours, others = cast("list[object]", mine), cast("list[object]", theirs)
        longest = max(len(ours), len(others))
        return sum(map(_similarity_of_values, ours, others)) / longest if longest else 1.0
    if isinstance(mine, dict) and isinstance(theirs, dict):
        named, expected = cast("dict[str, object]", mine), cast("dict[str, object]", theirs)
        keys = named.keys() | expected.keys()
        common = sorted(named.keys() & expected.keys())
        return sum(_similarity_of_values(named[key], expected[key]) for key in common) / len(keys) if keys else 1.0
    return float(isinstance(mine, bool) == isinstance(theirs, bool) and mine == theirs)


def _as_value(value: object) -> object:
    """An argument that is a text as what it says; texts inside lists and objects are texts."""
    if not isinstance(value, str):
        return value
    read = None if is_patch(value) else _read_json(value)
    return value if read is None and value.strip() != "null" else read


def _similarity_of_texts(mine: str, theirs: str) -> float:
    if is_patch(mine) and is_patch(theirs):
        return edit_similarity(changes_of_patch(mine), changes_of_patch(theirs))
    mine, theirs = mine.strip("\n"), theirs.strip("\n")
    if re.search(r"\s", mine) or re.search(r"\s", theirs):
        return bounded_similarity(mine, theirs)
    return float(_spell(mine) == _spell(theirs))


def _spell(word: str) -> str:
    return re.sub(r"(?:^\./)+(?=.)", "", word).rstrip("/") or word

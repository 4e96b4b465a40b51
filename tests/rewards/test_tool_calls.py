"""Tool calls in every form, arguments as structure, edits by what they change."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reward_laws import check_laws, texts

from srl.rewards.edits import changes_of, changes_of_patch, edit_similarity, is_patch
from srl.rewards.similarity import sequence_similarity
from srl.rewards.tool_calls import read_calls, tool_call_similarity
from srl.trajectories.agents.actions import render_call

PIECES = [
    "<function=edit>\n", "<parameter=old_str>\na\n</parameter>\n", "<parameter=new_str>\nb\n</parameter>\n",
    "</function>",
    '{"name": "f", "arguments": {"x": 1}}', "<tool_call>", "</tool_call>", "[", "]", "{", "}", '"', "\n", "null", "NaN",
    "<parameter=n>\n5\n</parameter>\n",
]  # fmt: skip
PATCH = "--- a/f.py\n+++ b/f.py\n@@ -1,3 +1,3 @@\n import os\n-x = 1\n+x = 2\n y = 3\n"


def call(name="edit", **arguments):
    return render_call(name, arguments)


JSON = {"name": "edit", "arguments": {"path": "a.py", "line": 5}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(JSON),
        json.dumps([JSON]),
        f"```json\n{json.dumps(JSON)}\n```",
        f"<tool_call>\n{json.dumps(JSON)}\n</tool_call>",
        json.dumps({"name": "edit", "arguments": json.dumps(JSON["arguments"])}),
        json.dumps({"type": "function", "id": "c1", "function": JSON}),
        json.dumps({"function": "edit", "parameters": JSON["arguments"]}),
        json.dumps({"name": "edit", "input": JSON["arguments"]}),
        "<function=edit>\n<parameter=line>\n5\n</parameter>\n<parameter=path>\n./a.py\n</parameter>\n</function>",
        "<function=edit><parameter=path>a.py</parameter><parameter=line>5</parameter>",
    ],
)
def test_one_call_in_every_form(text):
    prose, calls = read_calls(text)
    assert (prose, len(calls), calls[0][0]) == ("", 1, "edit")
    assert tool_call_similarity(text, call(path="a.py", line=5)) == 1.0
    assert tool_call_similarity(call(path="a.py", line=5), text) == 1.0


@pytest.mark.parametrize(
    "text", ["ls -la", '{"a": 1}', "[]", "5", '{"name": "x", "age": 5}', "<tool_call>{}</tool_call>", ""]
)
def test_what_is_no_call(text):
    assert read_calls(text)[1] == []


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        (call("view", path="a.py"), call("edit", path="a.py"), 0.0),
        (call("view", path="a.py"), call("view", path="b.py"), 0.0),
        (call("view", path="a.py", n=5), call("view", path="a.py", n=6), 1 / 2),
        (call("view", path="a.py"), call("view", path="a.py", n=6), 1 / 2),
        (call("submit"), call("submit"), 1.0),
        (call("submit"), call("submit", message="done"), 0.0),
        (call("view", n=True), call("view", n=1), 0.0),
        (call("view", n=5), call("view", n="5"), 1.0),
        (call("view", n=5.0), call("view", n=5), 1.0),
        (call("view", n=None), call("view", n="null"), 1.0),
        (call("view", n=1, x="NaN"), call("view", x="NaN", n=1), 1.0),
        (call("view", lines=[1, 20]), call("view", lines=[1, 30]), 1 / 2),
        (call("view", lines=[1, 20]), call("view", lines=[1, 20, 3]), 2 / 3),
        (call("view", lines=[]), call("view", lines=[]), 1.0),
        (call("book", person={"name": "Ann", "age": 5}), call("book", person={"age": 5, "name": "Bob"}), 1 / 2),
        (call("book", person={"name": "Ann"}), call("book", person=[1]), 0.0),
        (call("say", text="so it is"), call("say", text="so it was"), sequence_similarity("so it is", "so it was")),
        ("<function=f>\nfree text\n</function>", "<function=f>\nfree texts\n</function>", 18 / 19),
    ],
)
def test_arguments_are_compared_as_structure(action, target, expected):
    assert tool_call_similarity(action, target) == pytest.approx(expected)
    assert tool_call_similarity(target, action) == pytest.approx(expected)


def test_several_calls_are_aligned_in_order():
    one, two = call("view", path="a.py"), call("view", path="b.py")
    both = f"{one}\n\n{two}"
    assert tool_call_similarity(both, f"{one}\n{two}") == 1.0
    assert tool_call_similarity(one, both) == pytest.approx(2 / 3)
    assert tool_call_similarity(f"{two}\n\n{one}", both) == pytest.approx(2 / 4)


def test_text_beside_a_call_is_one_more_part():
    one = call("view", path="a.py")
    assert tool_call_similarity(f"I look.\n\n{one}", one) == pytest.approx(2 / 3)
    assert tool_call_similarity(f"ls\n\n{one}", f"ls\n\n{one}\n") == 1.0


def test_a_call_against_a_command_is_nothing_and_two_commands_are_texts():
    assert tool_call_similarity("cat a.py", call("view", path="a.py")) == 0.0
    assert tool_call_similarity("cat a.py", "cat b.py") == sequence_similarity("cat a.py", "cat b.py")


def test_an_edit_with_more_context_is_the_same_edit():
    short = call("edit", path="a.py", old_str="    return 1", new_str="    return 2")
    more = call("edit", path="a.py", old_str="def f():\n    return 1\n\n", new_str="def f():\n    return 2\n\n")
    other = call("edit", path="a.py", old_str="def f():\n    return 1\n\n", new_str="def f():\n    return 3\n\n")
    assert tool_call_similarity(more, short) == 1.0
    changed = sequence_similarity("    return 3", "    return 2")
    assert tool_call_similarity(other, short) == pytest.approx((1 + 2 * (24 + 24 * changed) / 48) / 3)
    # As texts, the wrong edit is as good as the right one.
    assert sequence_similarity(other, short) > sequence_similarity(more, short) - 0.03


def test_the_names_of_both_families_of_editors_mean_the_same():
    mine = {"name": "Edit", "arguments": {"file_path": "a.py", "old_string": "x\ny", "new_string": "x\nz"}}
    theirs = {"name": "Edit", "arguments": {"file_path": "a.py", "old_string": "y", "new_string": "z"}}
    assert tool_call_similarity(json.dumps(mine), json.dumps(theirs)) == 1.0


def test_an_insertion_and_a_deletion():
    insert = call("edit", path="a.py", insert_line=3, new_str="x = 1")
    assert tool_call_similarity(insert, call("edit", path="a.py", insert_line=4, new_str="x = 1")) == pytest.approx(
        2 / 3
    )
    delete = call("edit", path="a.py", old_str="x = 1", new_str="")
    assert tool_call_similarity(delete, call("edit", path="a.py", old_str="x = 1", new_str="")) == 1.0
    assert tool_call_similarity(delete, insert) < 0.5


def test_patches_are_compared_by_their_changed_lines():
    other_place = PATCH.replace("@@ -1,3 +1,3 @@\n import os\n", "@@ -7,2 +7,2 @@\n")
    assert tool_call_similarity(call("apply", patch=other_place), call("apply", patch=PATCH)) == 1.0
    wrong = tool_call_similarity(call("apply", patch=PATCH.replace("+x = 2", "+x = 3")), call("apply", patch=PATCH))
    assert wrong == pytest.approx((10 + 20 * sequence_similarity("f.py\nx = 3", "f.py\nx = 2")) / 30)
    assert is_patch(PATCH)
    assert is_patch("*** Begin Patch\n*** Update File: a.py\n-x\n+y\n*** End Patch")
    assert not is_patch("- one\n+ two")
    assert changes_of_patch("*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** End Patch") == ("x", "a.py\ny")


LINES = st.lists(st.sampled_from(["a", "b", "  c", ""]), max_size=6).map("\n".join)


@settings(max_examples=100, deadline=None)
@given(LINES, LINES)
def test_what_an_edit_keeps_is_the_same_on_both_sides(old, new):
    def count(text):
        return Counter(line for line in text.split("\n") if line)

    removed, added = changes_of(old, new)
    assert changes_of(old, old) == ("", "")
    assert count(old) - count(removed) == count(new) - count(added)
    assert edit_similarity((removed, added), (removed, added)) == 1.0


@settings(max_examples=200, deadline=None)
@given(texts(PIECES), texts(PIECES))
@example("", "")
@example('{"name": "f", "arguments": {"x": NaN}}', "{}")
@example(call("view", x="\ud800"), call("view", x="\udc00"))
def test_laws(action, target):
    check_laws(tool_call_similarity, action, target)


@pytest.mark.parametrize(
    "piece",
    [
        "<function=f>",
        "<tool_call>",
        "<parameter=a>",
        "[",
        "{",
        '{"name":',
        "</tool_call>",
        call("a", b="c"),
        "@@\n-a\n",
        "9",
    ],
)
def test_hostile_texts_end(piece):
    text = (piece * 100_000)[:100_000]
    started = time.perf_counter()
    assert tool_call_similarity(text, text[:-2] + "xy") >= 0.0
    for wrapped in (json.dumps({"name": "f", "arguments": {"x": each}}) for each in (text, text[:-1])):
        assert tool_call_similarity(wrapped, json.dumps({"name": "f", "arguments": {"x": text[:500]}})) >= 0.0
    assert time.perf_counter() - started < 30


def test_calls_of_real_agents_are_read(shared_data):
    rows = shared_data("swe/chat_toolcalls/taubench_gpt4o_airline.jsonl").read_text("utf-8").splitlines()[:8]
    calls = [
        each["function"]
        for row in rows
        for message in json.loads(row)["traj"]
        for each in message.get("tool_calls") or []
    ]
    assert len(calls) > 20
    for each in calls:
        written = render_call(each["name"], each["arguments"])
        assert tool_call_similarity(json.dumps(each), written) == 1.0
        assert tool_call_similarity(written, render_call("other", each["arguments"])) == 0.0

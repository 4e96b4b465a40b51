from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.agents.messages import (
    Call,
    Message,
    find_task,
    make_call,
    split_thought,
    task_of,
    text_of,
    turns_of,
)
from srl.trajectories.agents.turns import Turn
from srl.trajectories.reasons import RowError

TASK = Message(role="user", text="Fix it.")
PLEASE_GO_ON = "Please continue working on the task on whatever approach you think is suitable."


def say(text: str, *calls: Call, thought: str = "", response_id: str = "") -> Message:
    return Message(role="assistant", text=text, calls=calls, thought=thought, response_id=response_id)


def run(command: str, call_id: str = "") -> Call:
    return make_call("bash", {"command": command}, call_id)


def answer(text: str, call_id: str = "") -> Message:
    return Message(role="tool", text=text, call_id=call_id)


def user(text: str) -> Message:
    return Message(role="user", text=text)


def summary(turns: list[Turn]) -> list[tuple[str, str, str | None]]:
    return [(turn.action, turn.thought, turn.observation) for turn in turns]


def test_a_call_its_prose_and_its_answer() -> None:
    (turn,) = turns_of([TASK, say("I look.", run("ls"), thought="Hm."), answer("a.py\n")])
    assert turn == Turn(action="ls", thought="Hm.\n\nI look.", observation="a.py", num_calls=1)


def test_parallel_calls_are_one_turn_with_the_answers_in_the_order_of_the_calls() -> None:
    turns = turns_of([TASK, say("", run("a", "1"), run("b", "2")), answer("B", "2"), answer("A", "1")])
    assert summary(turns) == [("a\n\nb", "", "A\n\nB")]
    assert turns[0].num_calls == 2


def test_answers_without_ids_go_to_the_calls_in_order() -> None:
    turns = turns_of([TASK, say("", run("a"), run("b")), answer("A"), answer("B"), say("", run("c")), answer("C")])
    assert summary(turns) == [("a\n\nb", "", "A\n\nB"), ("c", "", "C")]


def test_an_id_that_repeats_is_that_of_the_latest_call() -> None:
    log = [TASK, say("", run("a", "1")), answer("A", "1"), say("", run("b", "1")), answer("B", "1")]
    assert summary(turns_of(log)) == [("a", "", "A"), ("b", "", "B")]


def test_a_late_answer_goes_to_the_call_that_asked() -> None:
    log = [TASK, say("", run("a", "1"), run("b", "2")), answer("B", "2"), say("", run("c", "3")), answer("A", "1")]
    assert summary(turns_of(log)) == [("a\n\nb", "", "A\n\nB"), ("c", "", None)]


def test_an_answer_with_an_unknown_id_is_not_lost() -> None:
    assert summary(turns_of([TASK, say("", run("a", "1")), answer("A", "9")])) == [("a", "", "A")]
    assert summary(turns_of([TASK, say("", run("a", "1")), answer("A", "1"), answer("B", "1")])) == [
        ("a", "", "A\n\nB")
    ]


def test_an_empty_answer_is_an_answer() -> None:
    assert summary(turns_of([TASK, say("", run("a")), answer("")])) == [("a", "", "")]


def test_what_the_user_adds_to_an_answer_is_read_before_the_next_action() -> None:
    log = [TASK, say("", run("a")), answer("A"), user("Hurry."), say("", run("b"))]
    assert summary(turns_of(log)) == [("a", "", "A\n\nHurry."), ("b", "", None)]


def test_consecutive_messages_are_one_turn() -> None:
    assert summary(turns_of([TASK, say("One."), say("Two.", run("a")), answer("A")])) == [("a", "One.\n\nTwo.", "A")]


def test_a_response_goes_on_over_its_own_answers() -> None:
    log = [TASK, say("", run("a", "1"), response_id="r"), answer("A", "1"), say("", run("b", "2"), response_id="r")]
    assert summary(turns_of([*log, answer("B", "2")])) == [("a\n\nb", "", "A\n\nB")]


def test_a_tool_that_thinks_is_thought_of_the_next_action() -> None:
    think = make_call("think", {"thought": "The cause\nis here."}, "1")
    log = [TASK, say("Hm.", think), answer("Logged.", "1"), say("Now.", run("a", "2")), answer("A", "2")]
    assert summary(turns_of(log)) == [
        ("", "Hm.\n\nThe cause\nis here.", None),
        ("a", "Hm.\n\nThe cause\nis here.\n\nNow.", "A"),
    ]


def test_thinking_beside_a_call_leaves_the_call() -> None:
    think = make_call("think", "why", "1")
    turns = turns_of([TASK, say("", think, run("a", "2")), answer("Logged.", "1"), answer("A", "2")])
    assert summary(turns) == [("a", "why", "A")]
    assert turns[0].num_calls == 1


def test_what_a_customer_answers_is_an_action() -> None:
    log = [
        TASK,
        say("Your name?"),
        user("Ann."),
        say("", run("find Ann")),
        answer("Seat 4"),
        say("Seat 4."),
        user("Thanks."),
    ]
    assert summary(turns_of(log)) == [
        ("Your name?", "", "Ann."),
        ("find Ann", "", "Seat 4"),
        ("Seat 4.", "", "Thanks."),
    ]


def test_the_last_word_of_a_conversation_is_an_action() -> None:
    log = [TASK, say("Your name?"), user("Ann."), say("Done, Ann.")]
    turns = turns_of(log)
    assert summary(turns) == [("Your name?", "", "Ann."), ("Done, Ann.", "", None)]
    assert turns[-1].is_end


def test_the_report_of_an_agent_that_talked_to_nobody_is_none() -> None:
    assert summary(turns_of([TASK, say("", run("a")), answer("A"), say("Fixed.")])) == [
        ("a", "", "A"),
        ("", "Fixed.", None),
    ]


def test_what_the_harness_answers_is_none() -> None:
    log = [TASK, say("Done?"), user(PLEASE_GO_ON), say("", run("a")), answer("A"), say("Done!")]
    turns = turns_of(log)
    assert [turn.action for turn in turns] == ["", "a", ""]
    assert not any(turn.is_refused for turn in turns)


def test_a_long_answer_that_repeats_is_the_harness_whatever_it_says() -> None:
    canned = "Carry on, there is no human here who could answer you."
    log = [TASK, say("Done?"), user(canned), say("", run("a")), answer("A"), say("Done!"), user(canned)]
    assert [turn.action for turn in turns_of(log)] == ["", "a", ""]
    short = [TASK, say("Row 1?"), user("Yes."), say("", run("a")), answer("A"), say("Row 2?"), user("Yes.")]
    assert [turn.action for turn in turns_of(short)] == ["Row 1?", "a", "Row 2?"]


@pytest.mark.parametrize(
    "demand",
    [
        "Your last output did not use any tool calls! Please use exactly one.",
        "No tool calls found in the response. Every response MUST include at least one tool call.",
        "You did not use a tool in your previous response! Please retry with a tool use.",
        "Your last response did not include a function call or a message.",
    ],
)
def test_a_demand_for_a_call_is_a_refusal(demand: str) -> None:
    turns = turns_of([TASK, say("I will look."), user(demand), say("", run("ls")), answer("a.py")])
    assert [(turn.action, turn.is_refused) for turn in turns] == [("", True), ("ls", False)]


def test_a_refusal_of_what_the_log_does_not_hold() -> None:
    log = [
        TASK,
        say("", run("a")),
        answer("A"),
        Message(role="refusal", text="Bad call."),
        say("", run("b")),
        answer("B"),
    ]
    assert [(turn.action, turn.is_refused) for turn in turns_of(log)] == [("a", False), ("", True), ("b", False)]


def test_a_greeting_is_no_turn() -> None:
    log = [say("How can I help?"), user("I am Ann."), say("Hello Ann."), user("Book it."), say("Booked.")]
    assert task_of(log) == "I am Ann."
    assert [turn.action for turn in turns_of(log)] == ["Hello Ann.", "Booked."]


def test_thoughts_between_marks_are_kept_apart() -> None:
    log = [TASK, say("<think>Who?</think>\nYour name?"), user("Ann."), say("<think>So.</think>", run("a")), answer("A")]
    assert summary(turns_of(log)) == [("Your name?", "Who?", "Ann."), ("a", "So.", "A")]


@pytest.mark.parametrize(
    ("text", "thought", "rest"),
    [
        ("no marks", "", "no marks"),
        ("<think>a</think> b", "a", "b"),
        ("a</think> b", "a", "b"),  # the prompt held the opening tag
        ("<think>a", "a", ""),
        ("b <think>a", "", "b <think>a"),
    ],
)
def test_split_thought(text: str, thought: str, rest: str) -> None:
    assert split_thought(text) == (thought, rest)


@pytest.mark.parametrize(
    ("message", "task"),
    [
        ("<issue_description>\nIt fails.\n</issue_description>\nSee the <issue_description>.", "It fails."),
        (
            "Fix this.\n\n# Problem Statement\nIt fails.\n\nBadly.\n\nIMPORTANT: You should ONLY interact with",
            "It fails.\n\nBadly.",
        ),
        (
            "<issue>old</issue>\n----- NEW TASK DESCRIPTION -----\nDo <issue>new</issue>\n"
            "----- END OF NEW TASK DESCRIPTION -----\nPLEASE",
            "new",
        ),
        ("---- NEW TASK DESCRIPTION ----\nPlain.\n---- END OF NEW TASK DESCRIPTION ----\n", "Plain."),
        ("<issue> </issue> empty", "<issue> </issue> empty"),
    ],
)
def test_the_task_in_a_prompt(message: str, task: str) -> None:
    assert find_task(message) == task


def test_the_task_is_what_the_user_says_before_the_agent() -> None:
    context = Message(role="system", text="You are an agent.")
    assert task_of([context, user("One."), user("Two."), say("Hm."), user("Three.")]) == "One.\n\nTwo."
    assert task_of([context, user("Manual."), user("<issue>Two.</issue>")]) == "Two."
    assert task_of([context]) == ""


def test_text_of_content_in_parts() -> None:
    assert text_of([{"type": "text", "text": "a"}, {"type": "image_url"}, "b", None]) == "a\nb"
    assert text_of({"text": "a"}) == "a"
    assert text_of(None) == ""
    with pytest.raises(RowError, match="wrong_type"):
        text_of(3)


@pytest.mark.parametrize(("name", "arguments"), [(None, {}), (" ", {}), ("bash", 3), ("bash", ["ls"])])
def test_a_call_that_cannot_be_read(name: object, arguments: object) -> None:
    with pytest.raises(RowError, match="wrong_type"):
        make_call(name, arguments)


parts = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool", "refusal"]),
    text=st.text(max_size=8),
    calls=st.lists(
        st.builds(Call, action=st.sampled_from(["a", "b", ""]), call_id=st.sampled_from(["", "1"])), max_size=2
    ).map(tuple),
    call_id=st.sampled_from(["", "1", "2"]),
    response_id=st.sampled_from(["", "r"]),
)


@given(st.lists(parts, max_size=12), st.booleans())
def test_no_call_and_no_answer_is_lost(log: list[Message], is_chat: bool) -> None:
    log = [message if message.role == "assistant" else Message(role=message.role, text=message.text) for message in log]
    turns = turns_of(log, is_chat=is_chat)
    actions = sum(bool(call.action) for message in log for call in message.calls)
    assert sum(turn.num_calls for turn in turns) == actions
    first = next((index for index, message in enumerate(log) if message.calls), len(log))
    seen = "\n".join(f"{turn.observation}" for turn in turns)
    assert all(
        message.text.strip() in seen for message in log[first:] if message.role == "user" and message.text.strip()
    )

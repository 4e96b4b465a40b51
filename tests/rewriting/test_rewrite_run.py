"""Whole runs against a real server: what is asked, retried, accepted, repaired, counted, and never asked twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from dataclasses import replace

import pytest
from llm_server import LLMServer, Reply, error, good, ids, read_lines, steps_of, write_rows

from srl.rewriting.journal import Journal
from srl.rewriting.originals import read_originals
from srl.rewriting.rewrite import ROWS_PER_SLOT, rewrite
from srl.trajectories.reader import read_trajectories
from srl.trajectories.settings import ReadSettings
from srl.types import Trajectory


@pytest.fixture
def rows(tmp_path):
    return lambda *numbers: write_rows(tmp_path / "in.jsonl", numbers)


def test_right_answers_become_rows_that_decompose_reads(rows, run):
    with LLMServer() as server:
        summary, output = run(rows(1, 2, 3), server)
    first = read_lines(output)[0]
    original = "Twice 1 is what we look for, so \\boxed{2}"
    assert first == {
        "id": "r1",
        "problem": "p1",
        "solution": steps_of(original),
        "answer": "2",
        "original_solution_sha256": hashlib.sha256(original.encode()).hexdigest(),
        "rewritten_by": {"model": "m", "host": server.url.removeprefix("http://").removesuffix("/v1"), "attempts": 1},
    }
    read = list(read_trajectories(str(output)))
    assert [item.trajectory_id for item in read if isinstance(item, Trajectory)] == ["r1", "r2", "r3"]
    assert [step.title for step in read[0].steps] == ["State the facts", "State the result"]
    assert (summary.num_read, summary.num_accepted, summary.num_answers) == (3, 3, 3)
    assert (summary.prompt_tokens, summary.completion_tokens) == (300, 150)
    assert {call.body["temperature"] for call in server.calls} == {0.0}
    assert {call.body["max_tokens"] for call in server.calls} == {8192}


def test_the_order_of_the_input_is_kept_when_answers_come_in_another_one(rows, run):
    def slow_first(call):
        return Reply(steps_of(call.solution), delay=0.3 if call.problem == "p1" else 0.0)

    with LLMServer(slow_first) as server:
        _, output = run(rows(*range(1, 8)), server, concurrency=4)
    assert ids(output) == [f"r{n}" for n in range(1, 8)]


def test_a_file_longer_than_the_window_is_read_to_its_end(rows, run):
    with LLMServer() as server:
        summary, output = run(rows(*range(40)), server, concurrency=1)
    assert summary.num_accepted == 40
    assert ids(output) == [f"r{n}" for n in range(40)]


def test_no_more_requests_at_once_than_allowed(rows, run):
    three = threading.Barrier(3)  # lets nobody pass before three requests are under way

    def script(call):
        three.wait(10)
        return Reply(steps_of(call.solution), delay=0.02)

    with LLMServer(script) as server:
        run(rows(*range(12)), server, concurrency=3)
    assert server.most_at_once == 3


REPAIRABLE = {
    "no_steps": "It is twice the number, \\boxed{2}.",
    "text_before_steps": "Here you are:\n\n" + steps_of("\\boxed{2}"),
    "untitled_step": "1. **Take the number** 1\n\n2. Double it: \\boxed{2}",
    "broken_numbering": "1. **Take the number** 1\n\n2. **Double it** 2\n\n4. **State it** \\boxed{2}",
    "empty_step": "1. **Double the number**\n\n2. **State the result** \\boxed{2}",
    "changed_answer": steps_of("\\boxed{3}"),
    "lost_answer": steps_of("it is two"),
    "too_long": steps_of("word " * 200 + "\\boxed{2}"),
    "too_short": "1. **A** b\n\n2. **C** \\boxed{2}",
    "refused": "I'm sorry, but I can't help with that.",
}


@pytest.mark.parametrize(("reason", "text"), REPAIRABLE.items(), ids=REPAIRABLE)
def test_an_answer_that_fails_a_check_is_repaired_once(rows, run, reason, text):
    with LLMServer(lambda call: good(call) if call.is_repair else Reply(text)) as server:
        summary, output = run(rows(1), server, min_length_ratio=0.9)
    assert (summary.num_accepted, summary.num_repaired, summary.num_answers) == (1, 1, 2)
    assert read_lines(output)[0]["rewritten_by"]["attempts"] == 2
    assert server.calls[1].body["messages"][:-2] == server.calls[0].body["messages"]
    assert server.calls[1].body["messages"][-2] == {"role": "assistant", "content": text}
    with LLMServer(lambda call: Reply(text)) as server:
        summary, _ = run(rows(1), server, min_length_ratio=0.9, output=output.with_name("again.jsonl"))
    assert summary.rejected == {reason: 1}
    assert len(server.calls) == 2


def test_the_model_is_told_what_is_wrong(rows, run):
    with LLMServer(lambda call: good(call) if call.is_repair else Reply(steps_of("\\boxed{3}"))) as server:
        run(rows(1), server)
    assert "the solution comes to 2, but \\boxed{} holds 3" in server.calls[1].body["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Reply("1. **Take** 1\n\n2. **Dou", finish_reason="length"), "cut_off"),
        (Reply(None, finish_reason="length"), "cut_off"),
        (Reply(None, refusal="No."), "refused"),
        (Reply(None, finish_reason="content_filter"), "refused"),
        (Reply("1. **Take** \ud800\n\n2. **Double** \\boxed{2}"), "bad_characters"),
        (Reply(""), "no_steps"),
    ],
    ids=lambda value: "" if isinstance(value, Reply) else value,
)
def test_answers_that_are_no_text_are_repaired_too(rows, run, bad, reason):
    with LLMServer(lambda call: good(call) if call.is_repair else bad) as server:
        summary, _ = run(rows(1), server)
    assert (summary.num_accepted, summary.num_repaired) == (1, 1)
    with LLMServer(lambda call: bad) as server:
        summary, output = run(rows(2), server)
    assert summary.rejected == {reason: 1}
    (left_out,) = read_lines(output.with_suffix(".report"))
    assert (left_out["line"], left_out["reason"]) == (1, reason)
    assert left_out["source"].keys() == {"file", "row"}


def test_a_proof_is_accepted_on_the_other_checks_and_counted(tmp_path, run):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"problem": "Prove it.", "solution": "It follows from the definition"}))
    with LLMServer() as server:
        summary, output = run(source, server)
    assert (summary.num_accepted, summary.num_without_answer) == (1, 1)
    assert read_lines(output)[0]["answer"] is None


def test_a_second_run_asks_nothing_and_writes_the_same(rows, run):
    with LLMServer(lambda call: good(call) if call.is_repair or call.problem != "p2" else Reply("no")) as server:
        _, output = run(rows(1, 2, 3), server)
        first = output.read_bytes()
        num_calls = len(server.calls)
        summary, output = run(rows(1, 2, 3), server)
    assert num_calls == 4
    assert len(server.calls) == num_calls
    assert output.read_bytes() == first
    assert (summary.num_answers, summary.num_accepted, summary.num_repaired) == (0, 3, 1)


def test_only_what_is_new_is_asked(rows, run):
    with LLMServer() as server:
        run(rows(1, 3), server)
        _, output = run(rows(1, 2, 3, 4), server)
    assert sorted(server.problems()) == ["p1", "p2", "p3", "p4"]
    assert ids(output) == ["r1", "r2", "r3", "r4"]


@pytest.mark.parametrize(
    ("change", "is_asked_again"),
    [
        ({"model": "other"}, True),
        ({"temperature": 0.5}, True),
        ({"max_completion_tokens": 100}, True),
        ({"concurrency": 1}, False),
        ({"max_length_ratio": 0.4}, False),
    ],
)
def test_what_decides_an_answer_is_part_of_its_key(rows, run, change, is_asked_again):
    with LLMServer() as server:
        run(rows(1), server)
        run(rows(1), server, **change)
    assert (len(server.calls) > 1) == is_asked_again


def test_a_limit_that_is_changed_is_applied_without_asking(rows, run):
    with LLMServer(lambda call: Reply(steps_of("word " * 100 + call.solution))) as server:
        strict, _ = run(rows(1), server, max_length_ratio=2.0)
        loose, _ = run(rows(1), server, max_length_ratio=20.0)
    assert strict.rejected == {"too_long": 1}
    assert loose.num_accepted == 1
    assert len(server.calls) == 2  # the answer and its repair, both in the first run


def test_rows_with_the_same_text_are_asked_about_once(tmp_path, run):
    source = tmp_path / "in.jsonl"
    row = {"problem": "p", "solution": "It is \\boxed{2}"}
    source.write_text("".join(json.dumps(row | {"id": name}) + "\n" for name in "abc"))
    with LLMServer(lambda call: Reply(steps_of(call.solution), delay=0.1)) as server:
        summary, output = run(source, server, concurrency=3)
    assert len(server.calls) == 1
    assert ids(output) == ["a", "b", "c"]
    assert summary.num_accepted == 3


def test_the_limit_takes_the_first_rows_that_are_not_answered(rows, run):
    with LLMServer() as server:
        first, _ = run(rows(*range(6)), server, limit=2)
        second, output = run(rows(*range(6)), server, limit=2)
    assert first.not_asked == {"limit": 4}
    assert second.not_asked == {"limit": 2}
    assert ids(output) == ["r0", "r1", "r2", "r3"]


def test_the_maximum_cost_is_never_exceeded(rows, run):
    # 50 completion tokens cost 50 $, at most 100 tokens 100 $: after 300 $ a seventh request could reach 400 > 390 $.
    money = {"price_out": 1e6, "max_cost": 390.0, "max_completion_tokens": 100}
    with LLMServer(lambda call: Reply(steps_of(call.solution), usage=(100, 50))) as server:
        first, output = run(rows(*range(20)), server, concurrency=4, **money)
        assert len(server.calls) == 6
        assert first.total_cost == pytest.approx(300.0)
        assert first.not_asked == {"max_cost": 14}
        assert len(ids(output)) == 6
        second, _ = run(rows(*range(20)), server, concurrency=4, **money)
        assert len(server.calls) == 6  # what was spent before counts
        assert second.cost == 0
        assert second.total_cost == pytest.approx(300.0)


def test_an_answer_that_was_lost_on_its_way_counts_as_paid(rows, run):
    money = {"price_out": 1e6, "max_cost": 150.0, "max_completion_tokens": 100}
    with LLMServer(lambda call: Reply("x", end="half")) as server:
        summary, _ = run(rows(1), server, **money)
    assert len(server.calls) == 1
    assert summary.not_asked == {"max_cost": 1}
    assert summary.total_cost == pytest.approx(100.0)


def test_a_refused_request_costs_nothing(rows, run):
    money = {"price_out": 1e6, "max_cost": 150.0, "max_completion_tokens": 100}
    with LLMServer(lambda call: error(503, "busy") if call.attempt < 4 else good(call)) as server:
        summary, _ = run(rows(1), server, **money)
    assert summary.num_accepted == 1
    assert summary.total_cost == pytest.approx(50.0)


def test_tokens_are_estimated_where_the_server_does_not_count(rows, run):
    with LLMServer(lambda call: Reply(steps_of(call.solution), usage=None)) as server:
        summary, _ = run(rows(1), server)
    chars = sum(len(message["content"]) for message in server.calls[0].body["messages"])
    assert summary.num_estimated == 1
    assert summary.prompt_tokens == chars // 4


def test_thinking_of_a_reasoning_model_is_no_part_of_its_answer(rows, run):
    with LLMServer(lambda call: Reply("<think>1. **No**</think>\n\n" + steps_of(call.solution))) as server:
        _, output = run(rows(1), server)
    assert read_lines(output)[0]["solution"].startswith("1. **State the facts**")


def test_the_input_is_read_no_further_than_the_window(tmp_path, fast):
    source, num_read, at_first_answer = write_rows(tmp_path / "in.jsonl", range(200)), 0, []

    def items():
        nonlocal num_read
        for item in read_originals(str(source), settings=fast.read, rows="all"):
            num_read += 1
            yield item

    def script(call):
        if call.problem == "p0":
            time.sleep(1.0)  # the other slot goes on meanwhile, as far as it may
            at_first_answer.append(num_read)
        return good(call)

    with LLMServer(script) as server, Journal(tmp_path / "journal") as journal:
        config = replace(fast, base_url=server.url, concurrency=2)
        nothing = lambda value: None  # noqa: E731
        summary = asyncio.run(rewrite(items(), config, journal, key="", write=nothing, report=nothing, show=nothing))
    assert summary.num_accepted == 200
    assert at_first_answer[0] <= 2 * ROWS_PER_SLOT + 1


def test_real_solutions_are_asked_about_word_by_word(shared_data):
    source = shared_data("math/openthoughts_math_solutions.jsonl")
    found = list(read_originals(str(source), settings=ReadSettings(), rows="all"))
    expected = [(row["problem"], row["solution"]) for row in read_lines(source)]
    assert len(found) == 70
    assert [(original.problem, original.solution) for original in found] == expected

"""What a bad server does, for real: what is tried again, gives up one row or stops the run, and what is kept."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import formatdate

import pytest
from llm_server import LLMServer, Reply, error, good, ids, read_lines, steps_of, write_rows

from srl.chat_api.client import EndpointError
from srl.rewriting.journal import journal_path


@pytest.fixture
def rows(tmp_path):
    return lambda *numbers: write_rows(tmp_path / "in.jsonl", numbers)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Reply(raw=b"<html>busy</html>"), "bad_reply"),
        (Reply(raw=b'{"choices": [{"message": {"content": "1. '), "bad_reply"),
        (Reply(raw=b"[" * 100_000), "bad_reply"),
        (Reply(raw=b"\xff\xfe"), "bad_reply"),
        (Reply(raw=b"null"), "bad_reply"),
        (Reply(raw=b'{"choices": []}'), "bad_reply"),
        (Reply(raw=b'{"choices": [null]}'), "bad_reply"),
        (Reply(raw=b'{"choices": [{"message": {"content": 7}}]}'), "bad_reply"),
        (Reply(raw=b'{"error": {"message": "upstream is down"}}'), "bad_reply"),
        (Reply("x", end="half"), "broken_connection"),
        (Reply(end="reset"), "broken_connection"),
        (Reply("x", delay=5.0), "timeout"),
        (Reply(end="hang"), "timeout"),
        (Reply("x" * 1000, end="trickle"), "timeout"),
        (error(500, "oops"), "http_500"),
        (error(503, "loading"), "http_503"),
        (error(408, "too slow"), "http_408"),
        (error(429, "slow down"), "http_429"),
    ],
    ids=lambda value: "" if isinstance(value, Reply) else value,
)
def test_what_goes_wrong_once_is_tried_again(rows, run, bad, reason):
    with LLMServer(lambda call: bad if call.attempt == 1 else good(call)) as server:
        summary, output = run(rows(7), server, timeout_seconds=1.0 if reason == "timeout" else 10.0)
    assert ids(output) == ["r7"]
    assert summary.retries == {reason: 1}
    assert summary.num_answers == 1
    assert len(read_lines(journal_path(output))) == 1


def test_three_errors_and_then_an_answer(rows, run):
    with LLMServer(lambda call: error(500, "oops") if call.attempt <= 3 else good(call)) as server:
        summary, _ = run(rows(7), server)
    assert summary.retries == {"http_500": 3}
    assert summary.num_accepted == 1


def test_the_wait_that_the_server_asks_for_is_kept_by_all_requests(rows, run):
    def limited(call):
        return error(429, "slow down", retry_after="1") if len(server.calls) == 1 else good(call)

    with LLMServer(limited) as server:
        began = time.monotonic()
        run(rows(1, 2, 3), server, concurrency=1)
    assert time.monotonic() - began >= 1.0
    assert server.calls[1].time - server.calls[0].time >= 1.0


def test_a_date_to_wait_for_is_kept(rows, run):
    def limited(call):
        if call.attempt > 1:
            return good(call)
        return error(429, "slow down", retry_after=formatdate(time.time() + 2, usegmt=True))

    with LLMServer(limited) as server:
        run(rows(1), server)
    assert server.calls[1].time - server.calls[0].time >= 0.9  # dates have no fractions of a second


def test_a_wait_of_an_hour_stops_the_run(rows, run):
    script = lambda call: error(429, "daily limit", retry_after="3600")  # noqa: E731
    with LLMServer(script) as server, pytest.raises(EndpointError, match="asks to wait 3600 seconds"):
        run(rows(1), server)


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "--token-limit-name"), (401, "--key-variable"), (403, "model"), (404, "--base-url"), (422, "accept")],
)
def test_what_would_fail_for_every_row_stops_at_once(rows, run, tmp_path, status, said):
    script = lambda call: error(status, "the server's own words")  # noqa: E731
    with LLMServer(script) as server, pytest.raises(EndpointError) as caught:
        run(rows(*range(20)), server, concurrency=2)
    assert len(server.calls) <= 2
    assert said in str(caught.value)
    assert f"HTTP {status}: the server's own words; " in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_used_up_account_is_no_rate_limit(rows, run):
    script = lambda call: error(429, "you have no money", "insufficient_quota")  # noqa: E731
    with LLMServer(script) as server, pytest.raises(EndpointError, match="no credit"):
        run(rows(1), server)
    assert len(server.calls) == 1


def test_a_problem_too_long_for_the_model_gives_up_its_row_only(rows, run):
    def script(call):
        if call.problem == "p2":
            return error(400, "This model's maximum context length is 4096 tokens.")
        return good(call)

    with LLMServer(script) as server:
        summary, output = run(rows(1, 2, 3), server)
    assert ids(output) == ["r1", "r3"]
    assert summary.failed == {"too_long_for_model": 1}
    assert summary.retries == {}


def test_a_row_that_never_gets_an_answer_is_counted_and_asked_again_next_time(rows, run):
    def script(call):
        return error(500, "oops") if call.problem == "p2" and not is_well else good(call)

    is_well = False
    with LLMServer(script) as server:
        summary, output = run(rows(1, 2, 3), server)
        assert summary.failed == {"http_500": 1}
        assert server.problems().count("p2") == 4
        assert ids(output) == ["r1", "r3"]
        is_well = True
        summary, output = run(rows(1, 2, 3), server)
    assert ids(output) == ["r1", "r2", "r3"]
    assert summary.num_answers == 1


def test_a_server_that_fails_for_every_request_stops_the_run_and_loses_nothing(rows, run, tmp_path):
    def script(call):
        return good(call) if call.problem in ("p0", "p1", "p2") else error(500, "on fire")

    with LLMServer(script) as server, pytest.raises(EndpointError) as caught:
        run(rows(*range(60)), server, concurrency=1, max_attempts=2)
    assert "5 requests failed since the last answer, 2 attempts each" in str(caught.value)
    assert "3 answers are kept" in str(caught.value)
    assert len(server.calls) == 3 + 5 * 2
    assert len(read_lines(journal_path(tmp_path / "out.jsonl"))) == 3
    with LLMServer() as server:
        _, output = run(rows(*range(60)), server)
    assert len(server.calls) == 57
    assert len(ids(output)) == 60


def test_a_short_file_without_any_answer_is_an_error_too(rows, run, tmp_path):
    with LLMServer(lambda call: Reply(end="reset")) as server, pytest.raises(EndpointError, match="broken_connection"):
        run(rows(1, 2), server, max_attempts=1)
    assert not (tmp_path / "out.jsonl").exists()


def test_nobody_listens(rows, run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match="no connection"):
        run(rows(*range(9)), address, max_attempts=2, price_in=1.0, max_cost=1.0)


def test_what_is_under_way_when_the_run_stops_is_kept(rows, run, tmp_path):
    all_here, is_refused = threading.Barrier(3), threading.Event()

    def script(call):
        all_here.wait(10)
        if call.problem == "p1":
            is_refused.set()
            return error(401, "no")
        is_refused.wait(10)
        return Reply(steps_of(call.solution), delay=0.3)

    with LLMServer(script) as server, pytest.raises(EndpointError):
        run(rows(1, 2, 3), server, concurrency=3)
    assert len(read_lines(journal_path(tmp_path / "out.jsonl"))) == 2

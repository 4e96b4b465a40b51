"""Many conversations asked at a real server, good and bad: order, limits, reasons, and what stops the run."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from llm_server import LLMServer, Reply, error

from srl.chat_api import ChatAnswer, EndpointError, ask_many
from srl.chat_api.client import MAX_FAILURES_IN_A_ROW
from srl.errors import ConfigError, DataError
from srl.types import Ungraded

KEY = "sk-test-7f3a9b21c4d5e6f7"


def conversation(text):
    return [{"role": "system", "content": "Echo."}, {"role": "user", "content": text}]


def asked(call):
    return call.body["messages"][-1]["content"]


def echo(call):
    return Reply(f"you said {asked(call)}")


def bad_for(text, reply):
    """A server that sends ``reply`` to one conversation and echoes the others."""
    return lambda call: reply if asked(call) == text else echo(call)


def ask_texts(texts, server, **options):
    return ask_many([conversation(text) for text in texts], server, **({"max_tokens": 7, "temperature": 0.0} | options))


def said(answers):
    return [answer.reason if isinstance(answer, Ungraded) else answer.text for answer in answers]


@pytest.fixture
def dead():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_answers_come_in_order_and_equal_conversations_are_asked_once(at):
    def slow_first(call):
        return Reply(f"you said {asked(call)}", delay=0.2 if asked(call) == "a" else 0.0)

    with LLMServer(slow_first) as server:
        answers = ask_texts(["a", "b", "a", "c", "b"], at(server))
        assert ask_many([], at(server), max_tokens=7, temperature=0.0) == []
    assert said(answers) == [f"you said {text}" for text in "abacb"]
    assert sorted(map(asked, server.calls)) == ["a", "b", "c"]
    assert answers[0] == ChatAnswer(
        text="you said a", finish_reason="stop", prompt_tokens=100, completion_tokens=50, is_estimated=False
    )
    expected = {"model": "m", "messages": conversation("b"), "max_tokens": 7, "temperature": 0.0}
    assert next(call.body for call in server.calls if asked(call) == "b") == expected


def test_a_reasoning_model_gets_its_own_options(at):
    with LLMServer(echo) as server:
        ask_texts(["a"], at(server, reasoning_model=True))
    assert server.calls[0].body == {"model": "m", "messages": conversation("a"), "max_completion_tokens": 7}


def test_no_more_requests_at_once_than_allowed(at):
    three = threading.Barrier(3)  # lets nobody pass before three requests are under way

    def script(call):
        three.wait(10)
        return Reply("x", delay=0.02)

    with LLMServer(script) as server:
        ask_texts(map(str, range(12)), at(server, concurrency=3))
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    ("bad", "reason", "num_calls"),
    [
        (Reply("x", delay=5.0), "server_timeout", 2),
        (Reply("x" * 1000, end="trickle"), "server_timeout", 2),
        (error(500, "oops"), "server_error", 2),
        (error(429, "slow down"), "server_error", 2),
        (Reply(raw=b'{"choices": [{"message": {"content": "Gr'), "server_error", 2),
        (Reply(raw=b"<html>busy</html>"), "server_error", 2),
        (Reply(end="reset"), "server_error", 2),
        (error(400, "This model's maximum context length is 4096 tokens."), "too_long", 1),
        (error(400, "no", "content_filter"), "content_filter", 1),
        (Reply("as far as", finish_reason="content_filter"), "content_filter", 1),
        (Reply(None, refusal="No."), "content_filter", 1),
    ],
    ids=lambda value: "" if isinstance(value, Reply) else str(value),
)
def test_what_one_conversation_cannot_have_has_a_reason_and_spares_the_others(at, bad, reason, num_calls):
    kept = {}
    with LLMServer(bad_for("b", bad)) as server:
        options = at(server, max_attempts=2, timeout_seconds=1.0 if reason == "server_timeout" else 10.0)
        answers = ask_texts("abc", options, on_answer=lambda place, answer: kept.update({place: answer.text}))
    assert said(answers) == ["you said a", reason, "you said c"]
    assert kept == {0: "you said a", 2: "you said c"}
    assert [asked(call) for call in server.calls].count("b") == num_calls


def test_an_answer_that_reached_the_limit_says_so(at):
    with LLMServer(bad_for("b", Reply("as far as", finish_reason="length"))) as server:
        answers = ask_texts("abc", at(server))
    assert [(answer.text, answer.finish_reason) for answer in answers] == [
        ("you said a", "stop"),
        ("as far as", "length"),
        ("you said c", "stop"),
    ]


def test_errors_that_pass_are_tried_again(at):
    with LLMServer(lambda call: error(500, "oops") if call.attempt <= 3 else echo(call)) as server:
        assert said(ask_texts("a", at(server))) == ["you said a"]
    assert len(server.calls) == 4


def test_the_wait_that_the_server_asks_for_is_kept_by_the_next_call_too(at):
    def limited(call):
        return error(429, "slow down", retry_after="1") if len(server.calls) == 1 else echo(call)

    with LLMServer(limited) as server:
        options = at(server, max_attempts=1)
        assert said(ask_texts("a", options)) == ["server_error"]
        assert said(ask_texts("ab", options)) == ["you said a", "you said b"]
    assert [call.time - server.calls[0].time >= 1.0 for call in server.calls] == [False, True, True]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "reward.server.reasoning_model"),
        (401, "reward.server.key_variable"),
        (403, "may not use this model"),
        (404, "check reward.server.base_url (most end in /v1) and reward.server.model"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_an_error_that_names_the_setting(at, status, words):
    script = lambda call: error(status, "the server's own words")  # noqa: E731
    with LLMServer(script) as server, pytest.raises(ConfigError) as caught:
        ask_texts(map(str, range(20)), at(server, concurrency=2))
    assert len(server.calls) <= 2
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"reward.server: 127.0.0.1:{server.url.split(':')[2][:-3]}: HTTP {status}")


def test_without_a_key_the_error_says_that_none_was_sent(at, monkeypatch):
    with LLMServer(lambda call: error(401, "who are you?")) as server:
        with pytest.raises(ConfigError, match=r"no key was sent; put it into .* reward.server.key_variable"):
            ask_texts("a", at(server))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with pytest.raises(
            ConfigError, match=r"does not accept the key; it is read from .* reward.server.key_variable"
        ):
            ask_texts("a", at(server))
        with pytest.raises(ConfigError, match=r"reward.server.key_variable: the environment variable MINE is not set"):
            ask_texts("a", at(server, key_variable="MINE"))
    assert len(server.calls) == 2


@pytest.mark.parametrize("kind", ["fatal", "row", "retry", "answer"])
def test_the_key_is_sent_and_never_shown(at, monkeypatch, caplog, kind):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    replies = {
        "fatal": error(401, f"wrong key {KEY}"),
        "row": error(400, f"maximum context length, dear {KEY}"),
        "retry": error(500, f"{KEY} broke me"),
        "answer": Reply(f"your key is {KEY}"),
    }
    with LLMServer(lambda call: replies[kind]) as server:
        try:
            shown = repr(ask_texts("ab", at(server, max_attempts=1)))
        except ConfigError as caught:
            shown = str(caught)
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    assert KEY[:12] not in shown
    assert KEY[:12] not in "".join(record.getMessage() for record in caplog.records if record.name == "srl")


def test_what_got_no_answer_is_logged_once_with_what_the_server_said(at, caplog):
    with LLMServer(bad_for("b", error(503, "loading"))) as server:
        ask_texts("abc", at(server, max_attempts=1))
    (record,) = [record for record in caplog.records if record.name == "srl"]
    assert record.getMessage() == "1 of 3 requests to reward.server got no answer; the last: HTTP 503: loading"


def test_nobody_listens(at, dead):
    with pytest.raises(EndpointError, match=r"no connection.*is reward.server.base_url its address"):
        ask_texts(map(str, range(9)), at(dead, max_attempts=2))


def test_a_server_that_dies_stops_callers_that_ask_for_one_answer_at_a_time(at):
    is_well = True
    with LLMServer(lambda call: echo(call) if is_well else error(500, "on fire")) as server:
        options = at(server, max_attempts=1)
        for _ in range(3):
            is_well = False
            for _ in range(MAX_FAILURES_IN_A_ROW - 1):
                assert said(ask_texts("a", options)) == ["server_error"]
            is_well = True
            assert said(ask_texts("a", options)) == ["you said a"]
        is_well = False
        for _ in range(MAX_FAILURES_IN_A_ROW - 1):
            ask_texts("a", options)
        with pytest.raises(EndpointError, match="5 requests failed since the last answer, 1 attempts each"):
            ask_texts("a", options)
        assert said(ask_texts("a", options)) == ["server_error"]  # who asks on begins anew


def test_what_was_answered_before_the_end_is_handed_over(at):
    all_here, is_refused, kept = threading.Barrier(3), threading.Event(), {}

    def script(call):
        all_here.wait(10)
        if asked(call) == "a":
            is_refused.set()
            return error(401, "no")
        is_refused.wait(10)
        return Reply("late", delay=0.3)

    with LLMServer(script) as server, pytest.raises(ConfigError):
        ask_texts("abc", at(server, concurrency=3), on_answer=lambda place, answer: kept.update({place: answer.text}))
    assert kept == {1: "late", 2: "late"}


def test_an_answer_that_cannot_be_stored_ends_the_call(at):
    def full(place, answer):
        raise DataError("the disk is full")

    with LLMServer(echo) as server, pytest.raises(DataError, match="the disk is full"):
        ask_texts(map(str, range(50)), at(server, concurrency=2), on_answer=full)
    assert len(server.calls) <= 4


def test_called_from_threads_and_where_another_loop_runs(at):
    with LLMServer(echo) as server:
        options = at(server)

        async def inside():
            return ask_texts("ab", options)

        assert said(asyncio.run(inside())) == ["you said a", "you said b"]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda text: said(ask_texts(text, options)), ["ab", "bc", "cd", "de"]))
    assert found == [[f"you said {text}" for text in texts] for texts in ("ab", "bc", "cd", "de")]


def test_stopped_by_the_user_it_ends_at_once():
    code = (
        "import sys\n"
        "from srl.chat_api import ServerConfig, ask_many\n"
        "server = ServerConfig(base_url=sys.argv[1], model='m')\n"
        "ask_many([[{'role': 'user', 'content': str(n)}] for n in range(20)], server, max_tokens=7, temperature=0.0)\n"
    )
    with LLMServer(lambda call: Reply(end="hang")) as server:
        process = subprocess.Popen([sys.executable, "-c", code, server.url], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(server.calls) < 8 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert len(server.calls) == 8


def test_half_a_surrogate_pair_does_not_stop_a_run(at):
    with LLMServer(echo) as server:
        assert said(ask_texts(["a\ud800b", "a\U0001f600"], at(server))) == ["you said a?b", "you said a\U0001f600"]


def test_without_the_openai_package_the_error_says_what_to_install(at, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'supervised-rl\[judge\]'"):
        ask_texts("a", at("http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": ""}, "go together"),
        ({"base_url": "localhost:8000"}, "server.base_url must be a web address"),
        ({"base_url": "http://h:port/v1"}, "server.base_url must be a web address"),
        ({"base_url": "http://me:opensesame@h/v1"}, "copied into the run folder"),
        ({"model": "a\nb"}, "control characters"),
        ({"key_variable": ""}, "server.key_variable"),
        ({"max_attempts": 0}, "server.max_attempts must be at least 1"),
        ({"timeout_seconds": 0.0}, "server.timeout_seconds must be above 0"),
    ],
)
def test_settings_that_cannot_be_used(at, settings, words):
    with pytest.raises(ValueError, match=words) as caught:
        at("http://127.0.0.1:1/v1", **settings)
    assert "opensesame" not in str(caught.value)

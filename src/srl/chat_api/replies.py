"""What comes back from an endpoint -> the answer's text and token counts, or what is wrong and what to do about it.

Total: whatever bytes a server sends, and whatever the client raises, has a place here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, cast

from srl.chat_api.settings import Asker

_RETRIED_STATUS = frozenset({408, 409, 425, 429})
_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size)|maximum (?:context|sequence)|too many tokens|prompt is too long"
)


class FailureKind(StrEnum):
    """What to do about a failure."""

    RETRY = "retry"
    """Ask again later."""
    REQUEST = "request"
    """Give up this request; others may do better."""
    FATAL = "fatal"
    """Stop: every request would fail like this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An attempt without an answer."""

    kind: FailureKind
    """What to do about it."""
    reason: str
    """A short code that attempts and requests are counted by."""
    detail: str
    """What happened, in one line; repeats what the server said, be it long or secret."""
    wait_seconds: float | None = None
    """How long the server asks to wait, None where it does not say."""
    may_be_charged: bool = False
    """Whether the server may have done the work, so that it may charge for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A chat completion, as far as it is used."""

    text: str
    """What the model wrote; what it wrote as a refusal where it wrote nothing else."""
    finish_reason: str
    """Why it ended, "" where the endpoint does not say."""
    prompt_tokens: int | None
    """As the endpoint counted them, None where it does not say."""
    completion_tokens: int | None
    """As the endpoint counted them, None where it does not say."""


def read_reply(content: bytes) -> Reply | Failure:
    """The completion in the body of a reply with status 200."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _bad_reply(f"a reply that is not JSON: {_shown(content)}")
    body = _mapping(value)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        said = _mapping(body.get("error")).get("message")  # some gateways report errors with status 200
        return _bad_reply(f"a reply without choices: {_shown(said if isinstance(said, str) else content)}")
    choice = _mapping(cast("list[object]", choices)[0])
    message = _mapping(choice.get("message"))
    finish_reason = choice.get("finish_reason")
    refusal, text = message.get("refusal"), message.get("content")
    if isinstance(refusal, str) and refusal and not text:
        text, finish_reason = refusal, "content_filter"
    if text is None and isinstance(finish_reason, str):
        text = ""  # cut off while thinking, or stopped by a filter
    if not isinstance(text, str):
        return _bad_reply(f"a reply without text: {_shown(content)}")
    usage = _mapping(body.get("usage"))
    return Reply(
        text=text,
        finish_reason=finish_reason if isinstance(finish_reason, str) else "",
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def failure_of_exception(error: Exception) -> Failure | None:
    """What an exception of the client means; None for one that is not about the endpoint."""
    import openai

    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        if _is_before_sending(error):
            return Failure(kind=FailureKind.RETRY, reason="no_connection", detail="no connection in time")
        return Failure(kind=FailureKind.RETRY, reason="timeout", detail="no answer in time", may_be_charged=True)
    if isinstance(error, openai.APIConnectionError):
        cause = f"{type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else str(error)
        if _is_before_sending(error):
            return Failure(kind=FailureKind.RETRY, reason="no_connection", detail=f"no connection ({_shown(cause)})")
        detail = f"the connection broke ({_shown(cause)})"
        return Failure(kind=FailureKind.RETRY, reason="broken_connection", detail=detail, may_be_charged=True)
    if isinstance(error, openai.APIStatusError):
        headers: Mapping[str, str] = error.response.headers
        said = _mapping(error.body).get("message")
        said = said if isinstance(said, str) else str(error.message)
        return failure_of_status(error.status_code, said=said, code=error.code or "", headers=headers)
    if isinstance(error, (openai.APIResponseValidationError, json.JSONDecodeError, UnicodeDecodeError)):
        return _bad_reply("a reply that the client cannot read")
    if isinstance(error, openai.OpenAIError):
        return Failure(kind=FailureKind.FATAL, reason="client", detail=f"the openai client says: {_shown(str(error))}")
    return None


def failure_of_status(status: int, *, said: str, code: str, headers: Mapping[str, str]) -> Failure:
    """What an HTTP error status means. ``code`` is the error code in the body, "" where it has none.

    >>> failure_of_status(429, said="slow down", code="", headers={"retry-after": "7"}).wait_seconds
    7.0
    >>> failure_of_status(401, said="who?", code="", headers={}).kind.value
    'fatal'
    """
    detail = f"HTTP {status}: {_shown(said)}"
    if code == "insufficient_quota":
        return Failure(kind=FailureKind.FATAL, reason="no_credit", detail=detail)
    if status in _RETRIED_STATUS or status >= 500:
        wait = read_retry_after(headers, now=datetime.now(UTC))
        return Failure(kind=FailureKind.RETRY, reason=f"http_{status}", detail=detail, wait_seconds=wait)
    if status in (400, 413, 422):
        if status == 413 or code == "context_length_exceeded" or _TOO_LONG.search(said.lower()):
            return Failure(kind=FailureKind.REQUEST, reason="too_long_for_model", detail=detail)
        if code == "content_filter":
            return Failure(kind=FailureKind.REQUEST, reason="content_filter", detail=detail)
    return Failure(kind=FailureKind.FATAL, reason=f"http_{status}", detail=detail)


def advice(failure: Failure, asker: Asker, *, has_key: bool) -> str:
    """What the user may change, in the names the settings have for this user; "" where nothing can be advised.

    >>> flags = Asker(name="x", extra="x", setting=lambda field: f"--{field}", request_settings="--temperature")
    >>> advice(failure_of_status(404, said="", code="", headers={}), flags, has_key=True)
    'the address or the model does not exist; check --base_url (most end in /v1) and --model'
    """
    setting = asker.setting
    if failure.reason == "http_401" and not has_key:
        return f"no key was sent; put it into the environment variable of {setting('key_variable')}"
    known = {
        "http_400": f"the endpoint does not accept the request; if it names an option, see {asker.request_settings}",
        "http_401": "the endpoint does not accept the key; it is read from the environment variable of "
        + setting("key_variable"),
        "http_402": "the account has no credit",
        "no_credit": "the account has no credit",
        "http_403": "the key may not use this model",
        "http_404": f"the address or the model does not exist; check {setting('base_url')} (most end in /v1) and "
        + setting("model"),
        "no_connection": f"does the server run, and is {setting('base_url')} its address?",
        "timeout": f"a higher {setting('timeout_seconds')} gives it longer",
    }
    other = "the endpoint does not accept the request" if failure.kind is FailureKind.FATAL else ""
    return known.get(failure.reason, other if failure.reason.startswith("http_") else "")


def read_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after`` (seconds or a date); None where neither is usable.

    >>> now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    >>> read_retry_after({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, now=now)
    30.0
    >>> read_retry_after({"retry-after": "soon"}, now=now) is None
    True
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError, IndexError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _is_before_sending(error: Exception) -> bool:
    """Whether no connection was made, so that nothing was asked. The HTTP library's name differs by version."""
    return type(error.__cause__).__name__ in {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}


def _bad_reply(detail: str) -> Failure:
    return Failure(kind=FailureKind.RETRY, reason="bad_reply", detail=detail, may_be_charged=True)


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _shown(said: str | bytes) -> str:
    """What was said, in one line."""
    return " ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else said).split())

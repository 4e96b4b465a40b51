"""One request -> its answer from an OpenAI-compatible endpoint, or why there is none.

Tried again, after a growing random wait or the one the server asks for: no connection, a time-out, a connection that
breaks, 408, 409, 425, 429, every 5xx, and a reply that is no chat completion. Given up for this request only: one that
is too long for the model or that a content filter stops. Everything else (400, 401, 403, 404, a used-up account) would
fail for every request and stops the run, as does an endpoint that fails several requests in a row.

The decision a reader would question: the client's own retries are off. They are not counted, do not know the budget,
and wait in each request alone, where a rate limit is meant for all of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srl.chat_api.budget import Budget
from srl.chat_api.replies import Failure, FailureKind, Reply, advice, failure_of_exception, read_reply
from srl.chat_api.settings import Asker, EndpointSettings
from srl.chat_api.tokens import CHARS_PER_TOKEN, estimated_tokens, most_tokens
from srl.errors import ConfigError
from srl.types import Message

MAX_WAIT_SECONDS = 60.0
"""The growing wait between attempts grows no further."""
MAX_SERVER_WAIT_SECONDS = 600.0
"""A server that wants to be left alone for longer than this has run out of something: the run stops."""
MAX_FAILURES_IN_A_ROW = 5
"""So many requests given up without a single answer in between stop the run."""
MAX_SHOWN_CHARS = 300
"""So much of what a server says is shown."""
MIN_HIDDEN_KEY_CHARS = 16
"""Keys from this length on are taken out of answers too; a key such as "none" could be a word of the answer."""


class EndpointError(ConfigError):
    """The endpoint cannot be used: what it says, and what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatAnswer:
    """What the endpoint answered to one request."""

    text: str
    """The answer as it came, but for the endpoint's key."""
    finish_reason: str
    """Why it ended, in the endpoint's words: stop, length, content_filter, ...; "" where it does not say."""
    prompt_tokens: int
    """Length of the prompt, as the endpoint counted it."""
    completion_tokens: int
    """Length of the answer, as the endpoint counted it."""
    is_estimated: bool
    """Whether the endpoint gave no token counts and these are estimates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenUp:
    """A request without an answer."""

    reason: str
    """A short code that requests are counted by, for instance "timeout"."""
    detail: str
    """What the endpoint said last."""
    was_tried: bool = True
    """False where nothing was sent: it is left for the next run."""


@dataclass(kw_only=True, slots=True)
class Health:
    """How an endpoint has been doing. Handed from one ``Endpoint`` to the next where there are many short ones."""

    failures_in_a_row: int = 0
    """Requests given up since the last answer."""
    num_answers: int = 0
    """Answers received."""
    quiet_until: float = 0.0
    """The time (``time.monotonic``) until which the server has asked to be left alone."""


def import_client(asker: Asker) -> Any:
    """The openai package. Raises ConfigError if it is missing."""
    try:
        import openai
    except ImportError as error:
        raise ConfigError(
            f"{asker.name} needs the openai package; install it with: pip install 'supervised-rl[{asker.extra}]'"
        ) from error
    return openai


class Endpoint:
    """Asks with at most ``settings.concurrency`` requests at once; an async context manager."""

    def __init__(
        self, settings: EndpointSettings, *, key: str, budget: Budget | None = None, health: Health | None = None
    ) -> None:
        """``key`` may be empty. Raises ConfigError if the openai package is missing."""
        self._settings = settings
        self._has_key = bool(key)
        self._secrets = [secret for secret in (key, *settings.url_secrets) if secret]
        self._budget = budget or Budget(maximum=0.0, spent=0.0)
        self._client: Any = import_client(settings.asker).AsyncOpenAI(
            base_url=settings.base_url,
            api_key=key or "none",  # the client insists on one; servers without keys ignore it
            timeout=settings.timeout_seconds,
            max_retries=0,
        )
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._stopped = asyncio.Event()
        self._health = health or Health()
        self.retries = Counter[str]()
        """Attempts that were tried again, by reason."""

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for, because it is paid for."""
        self._stopped.set()

    async def ask(self, messages: Sequence[Message]) -> ChatAnswer | GivenUp:
        """The answer. Raises EndpointError, and sends nothing from then on, when asking on is pointless."""
        async with self._slots:
            attempt = 1
            while True:
                await self._wait_for_turn()
                if self._stopped.is_set():
                    return GivenUp(reason="stopped", detail="the run was stopped", was_tried=False)
                result = await self._attempt(messages)
                if isinstance(result, ChatAnswer):
                    self._health.failures_in_a_row = 0
                    self._health.num_answers += 1
                    return result
                if isinstance(result, GivenUp):
                    return result
                if result.kind is FailureKind.FATAL:
                    raise self._stop_with(self._shown(result))
                if result.kind is FailureKind.REQUEST:
                    return GivenUp(reason=result.reason, detail=self._shown(result))
                self._heed(result)
                if attempt == self._settings.max_attempts:
                    return self._give_up(result)
                self.retries[result.reason] += 1
                await self._back_off(attempt)
                attempt += 1

    async def _attempt(self, messages: Sequence[Message]) -> ChatAnswer | Failure | GivenUp:
        """One attempt; nothing is sent if there is no money left for it."""
        settings = self._settings
        most = settings.cost(most_tokens(messages), settings.max_tokens)
        if not await self._budget.reserve(most):
            detail = f"it may cost up to ${most:.4f}, which is more than max_cost leaves"
            return GivenUp(reason="max_cost", detail=detail, was_tried=False)
        spent = most  # unless proved otherwise: an answer that was lost on its way is charged all the same
        try:
            reply = await self._send(messages)
            if isinstance(reply, Failure):
                spent = most if reply.may_be_charged else 0.0
                return reply
            answer = self._answer(messages, reply)
            spent = settings.cost(answer.prompt_tokens, answer.completion_tokens)
            return answer
        finally:
            await self._budget.settle(most, spent)

    async def _send(self, messages: Sequence[Message]) -> Reply | Failure:
        settings = self._settings
        options: dict[str, Any] = {settings.token_limit_name: settings.max_tokens}
        if settings.temperature is not None:
            options["temperature"] = settings.temperature
        try:
            # The client's time-out is for each read; a server that sends a byte now and then would never reach it.
            async with asyncio.timeout(settings.timeout_seconds):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=settings.model, messages=[_sendable(message) for message in messages], **options
                )
            # Read by ourselves and not by the client, which builds its objects from whatever JSON it is given.
            return read_reply(raw.http_response.content)
        except Exception as error:
            failure = failure_of_exception(error)
            if failure is None:
                raise
            return failure

    def _answer(self, messages: Sequence[Message], reply: Reply) -> ChatAnswer:
        text = reply.text
        for secret in self._secrets:
            if len(secret) >= MIN_HIDDEN_KEY_CHARS:
                text = text.replace(secret, "[key]")
        prompt_tokens, completion_tokens = reply.prompt_tokens, reply.completion_tokens
        return ChatAnswer(
            text=text,
            finish_reason=reply.finish_reason,
            prompt_tokens=estimated_tokens(messages) if prompt_tokens is None else prompt_tokens,
            completion_tokens=len(text) // CHARS_PER_TOKEN if completion_tokens is None else completion_tokens,
            is_estimated=prompt_tokens is None or completion_tokens is None,
        )

    async def _wait_for_turn(self) -> None:
        """Wait while the server has asked to be left alone; ends at once when the run is stopped."""
        while not self._stopped.is_set() and (wait := self._health.quiet_until - time.monotonic()) > 0:
            await self._sleep(wait * random.uniform(1.0, 1.1))

    def _heed(self, failure: Failure) -> None:
        """Let all requests keep the wait that the server asks for."""
        asked_for = failure.wait_seconds or 0.0
        if asked_for > MAX_SERVER_WAIT_SECONDS:
            raise self._stop_with(f"the server asks to wait {asked_for:.0f} seconds ({self._shown(failure)})")
        self._health.quiet_until = max(self._health.quiet_until, time.monotonic() + asked_for)

    async def _back_off(self, attempt: int) -> None:
        longest = min(MAX_WAIT_SECONDS, self._settings.backoff_seconds * 2 ** min(attempt - 1, 30))
        await self._sleep(longest * random.uniform(0.5, 1.0))  # so that requests that failed together part

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return

    def _give_up(self, failure: Failure) -> GivenUp:
        health, detail = self._health, self._shown(failure)
        health.failures_in_a_row += 1
        if health.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            since = "since the last answer" if health.num_answers else "and none was answered"
            num_failures, health.failures_in_a_row = health.failures_in_a_row, 0  # who asks on begins anew
            raise self._stop_with(
                f"{num_failures} requests failed {since}, {self._settings.max_attempts} attempts each; "
                f"the last with: {detail}"
            )
        return GivenUp(reason=failure.reason, detail=detail)

    def _stop_with(self, message: str) -> EndpointError:
        self.stop()
        return EndpointError(f"{self._settings.host}: {message}")

    def _shown(self, failure: Failure) -> str:
        """A failure in one line without the key, which servers like to repeat."""
        text = failure.detail
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
        to_do = advice(failure, self._settings.asker, has_key=self._has_key)
        return f"{text}; {to_do}" if to_do else text


def _sendable(message: Message) -> Message:
    """The message with "?" for each half of a surrogate pair, which no JSON in UTF-8 can hold."""
    return {"role": message["role"], "content": message["content"].encode("utf-8", "replace").decode("utf-8")}

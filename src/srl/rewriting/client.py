"""One request -> its answer from an OpenAI-compatible endpoint, or why there is none.

Tried again, after a growing random wait or the one the server asks for: no connection, a time-out, a connection that
breaks, 408, 409, 429, every 5xx, and a reply that is no chat completion. Given up for this row only: a problem that
is too long for the model or that a content filter stops. Everything else (400, 401, 403, 404, a used-up account) would
fail for every row and stops the run, as does an endpoint that fails several requests in a row.

The decision a reader would question: the client's own retries are off. They are not counted, do not know the budget,
and wait in each request alone, where a rate limit is meant for all of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from srl.errors import ConfigError, SRLError
from srl.rewriting.budget import Budget
from srl.rewriting.dialogue import CHARS_PER_TOKEN, Request
from srl.rewriting.journal import Answer
from srl.rewriting.replies import Failure, FailureKind, Reply, failure_of_exception, read_reply
from srl.rewriting.settings import RewriteConfig

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


class EndpointError(SRLError):
    """The endpoint cannot be used: what it says, and what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenUp:
    """A request without an answer."""

    reason: str
    """A short code that rows are counted by, for instance "timeout"."""
    detail: str
    """What the endpoint said last."""
    was_tried: bool = True
    """False where nothing was sent: the row is left for the next run."""


class Endpoint:
    """Asks with at most ``config.concurrency`` requests at once; an async context manager."""

    def __init__(self, config: RewriteConfig, *, key: str, budget: Budget) -> None:
        """``key`` may be empty. Raises ConfigError if the openai package is missing."""
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                "srl rewrite needs the openai package; install it with: pip install 'supervised-rl[rewrite]'"
            ) from error
        self._config = config
        self._secrets = [secret for secret in (key, *config.url_secrets) if secret]
        self._budget = budget
        self._client: Any = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=key or "none",  # the client insists on one; servers without keys ignore it
            timeout=config.timeout_seconds,
            max_retries=0,
        )
        self._slots = asyncio.Semaphore(config.concurrency)
        self._stopped = asyncio.Event()
        self._quiet_until = 0.0
        self._failures_in_a_row = 0
        self._num_answers = 0
        self.retries = Counter[str]()
        """Attempts that were tried again, by reason."""

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for, because it is paid for."""
        self._stopped.set()

    async def ask(self, request: Request) -> Answer | GivenUp:
        """The answer. Raises EndpointError, and sends nothing from then on, when asking on is pointless."""
        async with self._slots:
            attempt = 1
            while True:
                await self._wait_for_turn()
                if self._stopped.is_set():
                    return GivenUp(reason="stopped", detail="the run was stopped", was_tried=False)
                result = await self._attempt(request)
                if isinstance(result, Answer):
                    self._failures_in_a_row = 0
                    self._num_answers += 1
                    return result
                if isinstance(result, GivenUp):
                    return result
                if result.kind is FailureKind.FATAL:
                    raise self._stop_with(self._shown(result))
                if result.kind is FailureKind.ROW:
                    return GivenUp(reason=result.reason, detail=self._shown(result))
                if attempt == self._config.max_attempts:
                    return self._give_up(result)
                self.retries[result.reason] += 1
                await self._wait_after(result, attempt)
                attempt += 1

    async def _attempt(self, request: Request) -> Answer | Failure | GivenUp:
        """One attempt; nothing is sent if there is no money left for it."""
        config = self._config
        most = config.cost(request.most_tokens, config.max_completion_tokens)
        if not await self._budget.reserve(most):
            detail = f"it may cost up to ${most:.4f}, which is more than max_cost leaves"
            return GivenUp(reason="max_cost", detail=detail, was_tried=False)
        spent = most  # unless proved otherwise: an answer that was lost on its way is charged all the same
        try:
            reply = await self._send(request)
            if isinstance(reply, Failure):
                spent = most if reply.may_be_charged else 0.0
                return reply
            answer = self._answer(request, reply)
            spent = config.cost(answer.prompt_tokens, answer.completion_tokens)
            return answer
        finally:
            await self._budget.settle(most, spent)

    async def _send(self, request: Request) -> Reply | Failure:
        config = self._config
        options: dict[str, Any] = {config.token_limit_name: config.max_completion_tokens}
        if config.temperature is not None:
            options["temperature"] = config.temperature
        try:
            # The client's time-out is for each read; a server that sends a byte now and then would never reach it.
            async with asyncio.timeout(config.timeout_seconds):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=config.model, messages=list(request.messages), **options
                )
            # Read by ourselves and not by the client, which builds its objects from whatever JSON it is given.
            return read_reply(raw.http_response.content)
        except Exception as error:
            failure = failure_of_exception(error)
            if failure is None:
                raise
            return failure

    def _answer(self, request: Request, reply: Reply) -> Answer:
        text = reply.text
        for secret in self._secrets:
            if len(secret) >= MIN_HIDDEN_KEY_CHARS:
                text = text.replace(secret, "[key]")
        is_estimated = reply.prompt_tokens is None or reply.completion_tokens is None
        prompt_tokens, completion_tokens = reply.prompt_tokens, reply.completion_tokens
        return Answer(
            key=request.key,
            model=self._config.model,
            host=self._config.host,
            text=text,
            finish_reason=reply.finish_reason,
            prompt_tokens=request.estimated_tokens if prompt_tokens is None else prompt_tokens,
            completion_tokens=len(text) // CHARS_PER_TOKEN if completion_tokens is None else completion_tokens,
            is_estimated=is_estimated,
        )

    async def _wait_for_turn(self) -> None:
        """Wait while the server has asked to be left alone; ends at once when the run is stopped."""
        while not self._stopped.is_set() and (wait := self._quiet_until - asyncio.get_running_loop().time()) > 0:
            await self._sleep(wait * random.uniform(1.0, 1.1))

    async def _wait_after(self, failure: Failure, attempt: int) -> None:
        asked_for = failure.wait_seconds or 0.0
        if asked_for > MAX_SERVER_WAIT_SECONDS:
            raise self._stop_with(f"the server asks to wait {asked_for:.0f} seconds ({self._shown(failure)})")
        self._quiet_until = max(self._quiet_until, asyncio.get_running_loop().time() + asked_for)
        longest = min(MAX_WAIT_SECONDS, self._config.backoff_seconds * 2 ** min(attempt - 1, 30))
        await self._sleep(longest * random.uniform(0.5, 1.0))  # so that requests that failed together part

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return

    def _give_up(self, failure: Failure) -> GivenUp:
        self._failures_in_a_row += 1
        detail = self._shown(failure)
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            since = "since the last answer" if self._num_answers else "and none was answered"
            raise self._stop_with(
                f"{self._failures_in_a_row} requests failed {since}, {self._config.max_attempts} attempts each; "
                f"the last with: {detail}"
            )
        return GivenUp(reason=failure.reason, detail=detail)

    def _stop_with(self, message: str) -> EndpointError:
        self.stop()
        return EndpointError(f"{self._config.host}: {message}")

    def _shown(self, failure: Failure) -> str:
        """A failure in one line without the key, which servers like to repeat."""
        text = failure.detail
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
        return f"{text}; {failure.advice}" if failure.advice else text

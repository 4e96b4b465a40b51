"""Many conversations -> their answers, in order, or why there is none; for the judge and for the expert's endings.

What an endpoint cannot answer after ``server.max_attempts`` is ``Ungraded``, with one of ``REASONS``. An endpoint that
cannot be used at all, by its settings or because it fails request after request, is an error that names the setting to
change: a run whose server has died must stop, and not train for hours on what happened to be graded before.

The decision a reader would question: a plain function with a client of its own for each call, and an event loop that
ends with it. It can be called from any thread, also where another loop runs, and leaves nothing behind but what it has
learnt of the server's health, which outlives the call: callers that ask for a few answers at a time would otherwise
never see several failures in a row. The price is a new connection for each call, milliseconds against a model's answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from srl.chat_api.client import ChatAnswer, Endpoint, EndpointError, GivenUp, Health, import_client
from srl.chat_api.settings import Asker, EndpointSettings, ServerConfig, read_key
from srl.errors import ConfigError
from srl.types import Message, Ungraded

logger = logging.getLogger("srl")

BACKOFF_SECONDS = 1.0
"""Wait before the second attempt, doubled before each further one up to a minute."""

OnAnswer = Callable[[int, ChatAnswer], None]
"""(place of the conversation, its answer), as soon as it is there."""
_T = TypeVar("_T")
REASONS = ("server_timeout", "server_error", "content_filter", "too_long")
"""Why there is no answer."""
_REASON_OF = {"timeout": "server_timeout", "too_long_for_model": "too_long", "content_filter": "content_filter"}


def ask_many(
    conversations: Sequence[Sequence[Message]],
    server: ServerConfig,
    *,
    max_tokens: int,
    temperature: float,
    on_answer: OnAnswer | None = None,
) -> list[ChatAnswer | Ungraded]:
    """One answer for each conversation, in order; equal conversations are asked once.

    At most ``server.concurrency`` requests are under way at once. An answer that reached ``max_tokens`` comes back with
    the finish reason "length"; one that a filter cut or the model refused is ungraded. ``on_answer`` is called with
    every other answer as it comes, with the first place of equal conversations, so that what was paid for can be stored
    before an error ends the call; it runs in the thread and event loop that ask, so it must be quick.

    Raises ConfigError (EndpointError, when the endpoint itself is to blame) where nothing can be had: the client or the
    key is missing, the endpoint refuses the key, the model or the options, or ``MAX_FAILURES_IN_A_ROW`` requests in a
    row, of this call or of earlier ones, were given up. Requests under way are waited for then.
    """
    key = check_server(server)
    first_place: dict[str, int] = {}
    for place, messages in enumerate(conversations):
        first_place.setdefault(repr([*messages]), place)
    if not first_place:
        return []
    settings = _settings_of(server, max_tokens=max_tokens, temperature=temperature)
    distinct = [(place, conversations[place]) for place in first_place.values()]
    try:
        found = _run(_ask_all(distinct, settings, key=key, health=_health_of(server), on_answer=on_answer))
    except EndpointError as error:
        raise EndpointError(f"reward.server: {error}") from error
    _warn(found)
    results = dict(zip(first_place, map(_result, found), strict=True))
    return [results[repr([*messages])] for messages in conversations]


def check_server(server: ServerConfig) -> str:
    """The server's key, "" where it needs none. Raises ConfigError where it cannot be asked; sends nothing."""
    if not server.base_url:
        raise ConfigError("reward.server.base_url and reward.server.model are not set; name an endpoint and its model")
    import_client(_ASKER)
    try:
        return read_key(server.key_variable)
    except ConfigError as error:
        raise ConfigError(f"reward.server.key_variable: {error}") from error


def _setting(field_name: str) -> str:
    return f"reward.server.{field_name}"


_ASKER = Asker(
    name="a reward that asks a server",
    extra="judge",
    setting=_setting,
    request_settings=_setting("reasoning_model"),
)


@cache
def _health_of(server: ServerConfig) -> Health:
    return Health()


def _settings_of(server: ServerConfig, *, max_tokens: int, temperature: float) -> EndpointSettings:
    return EndpointSettings(
        base_url=server.base_url,
        model=server.model,
        max_tokens=max_tokens,
        temperature=None if server.reasoning_model else temperature,
        token_limit_name="max_completion_tokens" if server.reasoning_model else "max_tokens",
        concurrency=server.concurrency,
        timeout_seconds=server.timeout_seconds,
        max_attempts=server.max_attempts,
        backoff_seconds=BACKOFF_SECONDS,
        asker=_ASKER,
    )


async def _ask_all(
    conversations: Sequence[tuple[int, Sequence[Message]]],
    settings: EndpointSettings,
    *,
    key: str,
    health: Health,
    on_answer: OnAnswer | None,
) -> list[ChatAnswer | GivenUp]:
    async with Endpoint(settings, key=key, health=health) as endpoint:

        async def ask(place: int, messages: Sequence[Message]) -> ChatAnswer | GivenUp:
            try:
                answer = await endpoint.ask(messages)
                if on_answer is not None and isinstance(answer, ChatAnswer) and not _is_filtered(answer):
                    on_answer(place, answer)
            except BaseException:
                endpoint.stop()
                raise
            return answer

        # All are waited for, also when one has failed: what is under way is paid for, and may still be stored.
        answers = await asyncio.gather(*(ask(*item) for item in conversations), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _run(coroutine: Coroutine[object, object, _T]) -> _T:
    """The coroutine's result, whether or not an event loop runs in this thread (as one does in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _is_filtered(answer: ChatAnswer) -> bool:
    return answer.finish_reason == "content_filter"


def _result(found: ChatAnswer | GivenUp) -> ChatAnswer | Ungraded:
    if isinstance(found, GivenUp):
        return Ungraded(reason=_REASON_OF.get(found.reason, "server_error"))
    return Ungraded(reason="content_filter") if _is_filtered(found) else found


def _warn(found: Sequence[ChatAnswer | GivenUp]) -> None:
    given_up = [item for item in found if isinstance(item, GivenUp)]
    if given_up:
        logger.warning(
            "%d of %d requests to reward.server got no answer; the last: %s",
            len(given_up),
            len(found),
            given_up[-1].detail,
        )

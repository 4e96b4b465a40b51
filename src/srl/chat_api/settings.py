"""Where an OpenAI-compatible endpoint is and how it is asked: a recipe's [reward.server], and what a client needs.

The endpoint's key is no setting: it is read from the environment, so that it stands in no file and on no command line.
The decision a reader would question: a recipe's address may hold no password, because the recipe is copied into the run
folder; ``srl rewrite``, which writes its settings nowhere, allows one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from srl.errors import ConfigError, require

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"

TokenLimitName = Literal["max_tokens", "max_completion_tokens"]
"""What an endpoint calls the limit on the length of an answer."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """An endpoint for the judge, or for the expert who finishes solutions."""

    base_url: str = ""
    """Address of an OpenAI-compatible endpoint, for instance http://localhost:8000/v1."""
    model: str = ""
    """Name of the model at the endpoint."""
    key_variable: str = DEFAULT_KEY_VARIABLE
    """Environment variable that holds the endpoint's key. A local server needs none."""
    reasoning_model: bool = False
    """For OpenAI's reasoning models: the token limit is sent as max_completion_tokens, and no temperature."""
    concurrency: int = 8
    """Requests under way at once."""
    timeout_seconds: float = 60.0
    """A request that is not answered in full after this time is given up and tried again."""
    max_attempts: int = 4
    """A request is sent at most this often; then what it was for is ungraded."""

    def __post_init__(self) -> None:
        require((self.base_url == "") == (self.model == ""), "server.base_url and server.model go together")
        require(is_web_address(self.base_url), f"server.base_url {NO_WEB_ADDRESS}")
        url = urlsplit(self.base_url)
        require(
            not url.username and not url.password and not url.query,
            "server.base_url holds a name, a password or a query, and the recipe is copied into the run folder; put a "
            "key into the environment variable that server.key_variable names",
        )
        require(self.model.isprintable(), "server.model must be a name without control characters")
        require(bool(self.key_variable), "server.key_variable must be the name of an environment variable")
        for name in ("concurrency", "max_attempts"):
            require(getattr(self, name) >= 1, f"server.{name} must be at least 1")
        require(0 < self.timeout_seconds < float("inf"), "server.timeout_seconds must be above 0")


NO_WEB_ADDRESS = "must be a web address such as http://localhost:8000/v1"
"""The end of an error that does not repeat the address, which may hold a password."""


def is_web_address(base_url: str) -> bool:
    """Whether a client can ask there; "" counts as one that is still to come."""
    try:
        url = urlsplit(base_url)
        return not base_url or (url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0)
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """On whose behalf an endpoint is asked, in the words of messages to the user."""

    name: str
    """The subject of "... needs the openai package", for instance "srl rewrite"."""
    extra: str
    """The extra of this package that installs the client."""
    setting: Callable[[str], str]
    """The name under which the user sets ``base_url``, ``model``, ``key_variable`` or ``timeout_seconds``."""
    request_settings: str
    """The settings that decide which options are sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """All that the client knows of its endpoint, beside the key."""

    base_url: str
    """Address of an OpenAI-compatible endpoint."""
    model: str
    """Name of the model at the endpoint."""
    max_tokens: int
    """An answer longer than this is cut."""
    temperature: float | None
    """Sampling temperature; None sends none."""
    token_limit_name: TokenLimitName = "max_tokens"
    """What the endpoint calls ``max_tokens``."""
    concurrency: int
    """Requests under way at once."""
    timeout_seconds: float
    """An attempt that is not answered in full after this time is given up."""
    max_attempts: int
    """Attempts before a request is given up."""
    backoff_seconds: float = 1.0
    """Wait before the second attempt, doubled before each further one, less a random part."""
    price_in: float = 0.0
    """USD per million prompt tokens."""
    price_out: float = 0.0
    """USD per million completion tokens."""
    asker: Asker
    """For messages to the user."""

    @property
    def host(self) -> str:
        """Host and port of the endpoint: all of ``base_url`` that is ever written anywhere."""
        url = urlsplit(self.base_url)
        return f"{url.hostname}:{url.port}" if url.port else url.hostname or ""

    @property
    def url_secrets(self) -> tuple[str, ...]:
        """What ``base_url`` holds that must not be shown."""
        url = urlsplit(self.base_url)
        return tuple(secret for secret in (url.password, url.query) if secret)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD for so many tokens."""
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


def read_key(variable: str) -> str:
    """The endpoint's key from the environment, "" where the default variable is not set.

    Raises ConfigError, which never shows the key, if a variable named on purpose is not set or holds no key.
    """
    key = os.environ.get(variable, "").strip()
    if not key and variable != DEFAULT_KEY_VARIABLE:
        raise ConfigError(f"the environment variable {variable} is not set; put the endpoint's key into it")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"what the environment variable {variable} holds is no key: it has spaces or other characters"
        )
    return key

"""The settings of ``srl rewrite`` as a frozen dataclass; ``recipe.load_settings`` reads them from a TOML file.

The endpoint's key is no setting: it is read from the environment, so that it stands in no file and on no command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from pydantic import ConfigDict

from srl.chat_api.settings import (
    DEFAULT_KEY_VARIABLE,
    NO_WEB_ADDRESS,
    Asker,
    EndpointSettings,
    TokenLimitName,
    is_web_address,
)
from srl.prompts import RewriteTexts
from srl.trajectories.settings import ReadSettings

RowChoice = Literal["uncut", "untitled", "all"]
"""Which solutions are rewritten: those without two steps, also those with a step that has no title, or every one."""


@dataclass(frozen=True, kw_only=True)
class RewriteConfig:
    """Whom to ask, for what, and what to accept."""

    base_url: str = ""
    """Address of an OpenAI-compatible endpoint, for instance http://localhost:8000/v1."""
    model: str = ""
    """Name of the model at the endpoint."""
    key_variable: str = DEFAULT_KEY_VARIABLE
    """Environment variable that holds the endpoint's key. A local server needs none."""
    rows: RowChoice = "uncut"  # Paper: B.3 rewrites every solution of s1K-1.1.
    """Which solutions are rewritten. uncut: those that do not fall into two steps by themselves. untitled: also those \
with a step that has no title. all: every one, as the paper does."""
    temperature: float | None = 0.0
    """Sampling temperature. None sends none, for models that accept none."""
    max_completion_tokens: int = 8192
    """An answer longer than this is cut, and a cut answer is rejected."""
    token_limit_name: TokenLimitName = "max_tokens"
    """What the endpoint calls this limit. OpenAI's newest models know only max_completion_tokens."""
    concurrency: int = 8
    """Requests under way at once."""
    timeout_seconds: float = 300.0
    """A request that is not answered in full after this time is given up and tried again."""
    max_attempts: int = 6
    """A request is sent at most this often; then its row is left out and counted as failed."""
    backoff_seconds: float = 1.0
    """Wait before the second attempt, doubled before each further one up to a minute, less a random part. A longer \
wait that the server asks for is kept."""
    min_length_ratio: float = 0.3
    """A rewrite with fewer characters than this share of the original's is rejected."""
    max_length_ratio: float = 3.0
    """A rewrite with more characters than this multiple of the original's (and 400 more, for the titles of short \
ones) is rejected."""
    price_in: float = 0.0
    """USD per million prompt tokens."""
    price_out: float = 0.0
    """USD per million completion tokens."""
    max_cost: float = 0.0
    """USD that may be spent on this output, earlier runs included: a request that could cost more than what is left \
is not sent. 0: no limit."""
    limit: int = 0
    """Rows that are asked about in this run, for a trial; answers in the journal do not count. 0: no limit."""
    read: Annotated[ReadSettings, tyro.conf.arg(name="")] = field(default_factory=ReadSettings)
    """How the input is read."""
    texts: Annotated[RewriteTexts, tyro.conf.Suppress] = field(default_factory=RewriteTexts)
    """The wording of the prompt; can be replaced in a recipe."""

    def __post_init__(self) -> None:
        _require(is_web_address(self.base_url), f"base_url {NO_WEB_ADDRESS}")
        _require(self.model.isprintable(), "model must be a name without control characters")
        _require(bool(self.key_variable), "key_variable must be the name of an environment variable")
        _require(self.temperature is None or self.temperature >= 0, "temperature must be at least 0")
        for name in ("max_completion_tokens", "concurrency", "max_attempts"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("timeout_seconds", "backoff_seconds"):
            _require(getattr(self, name) > 0, f"{name} must be above 0")
        for name in ("min_length_ratio", "price_in", "price_out", "max_cost", "limit"):
            _require(getattr(self, name) >= 0, f"{name} must be at least 0")
        _require(self.min_length_ratio < self.max_length_ratio, "min_length_ratio must be below max_length_ratio")
        _require(
            not self.max_cost or bool(self.price_in or self.price_out),
            "max_cost has no effect without price_in and price_out; give the prices per million tokens",
        )

    @property
    def endpoint(self) -> EndpointSettings:
        """What the client needs to know."""
        return EndpointSettings(
            base_url=self.base_url,
            model=self.model,
            max_tokens=self.max_completion_tokens,
            temperature=self.temperature,
            token_limit_name=self.token_limit_name,
            concurrency=self.concurrency,
            timeout_seconds=self.timeout_seconds,
            max_attempts=self.max_attempts,
            backoff_seconds=self.backoff_seconds,
            price_in=self.price_in,
            price_out=self.price_out,
            asker=_ASKER,
        )


def _option(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")


_ASKER = Asker(
    name="srl rewrite",
    extra="rewrite",
    setting=_option,
    request_settings="--temperature and --token-limit-name",
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


for _type in (RewriteConfig, RewriteTexts):  # unknown keys are errors at every level
    _type.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]

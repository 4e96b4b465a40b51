"""Fixtures that more than one test folder uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llm_server import LLMServer

from srl.chat_api import ServerConfig, ask

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models here are tiny: threads cost more than they bring

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a real data file beside the repository; skips where it is not there, but never in CI."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            message = f"{path} is not there"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServerConfig]:
    """(server, settings) -> ServerConfig that waits not long between attempts; no key comes from outside."""
    monkeypatch.setattr(ask, "BACKOFF_SECONDS", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def config(server: LLMServer | str, **settings: Any) -> ServerConfig:
        url = server if isinstance(server, str) else server.url
        return ServerConfig(**({"base_url": url, "model": "m", "timeout_seconds": 10.0} | settings))

    return config

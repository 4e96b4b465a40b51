"""Runs ``rewrite`` against a server in this process."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from srl.rewriting.journal import Journal, journal_path
from srl.rewriting.originals import read_originals
from srl.rewriting.rewrite import rewrite
from srl.rewriting.settings import RewriteConfig
from srl.whole_file import whole_file

FAST = RewriteConfig(model="m", backoff_seconds=0.01, timeout_seconds=10.0, max_attempts=4, rows="all")


@pytest.fixture
def fast():
    """Settings that do not wait long."""
    return FAST


@pytest.fixture
def run(tmp_path):
    """(source, server, **settings) -> (summary, output); the journal lies beside the output."""

    def go(source, server, *, key="", output=None, **settings):
        config = replace(FAST, base_url=server if isinstance(server, str) else server.url, **settings)
        output = output or tmp_path / "out.jsonl"
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(journal_path(output)))
            write = stack.enter_context(whole_file(output))
            report = stack.enter_context(whole_file(output.with_suffix(".report")))
            items = read_originals(str(source), settings=config.read, rows=config.rows)
            summary = asyncio.run(
                rewrite(items, config, journal, key=key, write=write, report=report, show=lambda _: None)
            )
        return summary, output

    return go

"""What a run would ask and cost, without sending anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from srl.chat_api.tokens import CHARS_PER_TOKEN, estimated_tokens
from srl.rewriting.dialogue import Request
from srl.rewriting.journal import Journal
from srl.rewriting.originals import LeftAlone
from srl.rewriting.rewrite import Item, review
from srl.rewriting.settings import RewriteConfig
from srl.rewriting.summary import add_counts
from srl.types import DroppedRow


@dataclass(kw_only=True, slots=True)
class Estimate:
    """Counts of a run that was not made."""

    num_read: int = 0
    """Rows read."""
    unreadable: Counter[str] = field(default_factory=Counter[str])
    """Rows without a usable problem and solution, by drop reason."""
    left_alone: Counter[str] = field(default_factory=Counter[str])
    """Rows that are not rewritten, by why."""
    num_answered: int = 0
    """Rows whose answers stand in the journal."""
    num_asked: int = 0
    """Rows that would be asked about."""
    num_over_limit: int = 0
    """Rows beyond ``limit``."""
    prompt_tokens: int = 0
    """Estimated from characters, for one request per row asked about."""
    completion_tokens: int = 0
    """Estimated from characters, as if each rewrite were as long as its original."""
    first: Request | None = None
    """The first request."""


def estimate(items: Iterable[Item], config: RewriteConfig, journal: Journal) -> Estimate:
    """What a run over ``items`` would ask."""
    result = Estimate()
    for item in items:
        result.num_read += 1
        if isinstance(item, DroppedRow):
            result.unreadable[item.reason] += 1
        elif isinstance(item, LeftAlone):
            result.left_alone[item.value] += 1
        elif not isinstance(request := review(item, config, journal), Request):
            result.num_answered += 1
        elif config.limit and result.num_asked >= config.limit:
            result.num_over_limit += 1
        else:
            result.num_asked += 1
            result.prompt_tokens += estimated_tokens(request.messages)
            result.completion_tokens += len(item.solution) // CHARS_PER_TOKEN
            result.first = result.first or request
    return result


def print_estimate(result: Estimate, config: RewriteConfig, console: Console) -> None:
    """The estimate as a table of 80 columns, and the first prompt in full."""
    table = Table(title="Dry run: nothing was sent", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows read", str(result.num_read))
    add_counts(table, "cannot be used", result.unreadable)
    add_counts(table, "left as they are", result.left_alone)
    table.add_row("answered in the journal", str(result.num_answered))
    table.add_row("would be asked about", str(result.num_asked))
    if result.num_over_limit:
        table.add_row("beyond the limit", str(result.num_over_limit))
    table.add_section()
    table.add_row("prompt tokens, estimated", f"{result.prompt_tokens:,}")
    table.add_row("completion tokens, estimated", f"{result.completion_tokens:,}")
    if config.price_in or config.price_out:
        cost = config.endpoint.cost(result.prompt_tokens, result.completion_tokens)
        table.add_row("cost, estimated", f"${cost:.2f}")
    console.print(table)
    console.print(
        f"Estimates: {CHARS_PER_TOKEN} characters per token, rewrites as long as their originals, no repairs and no "
        "hidden thinking.",
        soft_wrap=True,
    )
    if result.first is None:
        return
    console.print("\nThe first prompt:", highlight=False)
    for message in result.first.messages:
        console.print(f"\n[{message['role']}]", style="bold", markup=False, highlight=False)
        console.print(message["content"], markup=False, highlight=False, soft_wrap=True)

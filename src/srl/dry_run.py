"""What a run would do: the resolved recipe, the number of examples, and the tokens it may cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoTokenizer

from srl.config import RunConfig, StageConfig
from srl.recipe import config_to_json
from srl.sft.plan import count_draws
from srl.sft.tokens import TaughtData, tokenize_stage
from srl.stage_data import StageData, build_stage, fit_prompts
from srl.training_config import SFTConfig


def print_dry_run(config: RunConfig, console: Console) -> None:
    """Print the resolved run and, for each stage, examples and token budget. Trains and writes nothing."""
    console.print_json(config_to_json(config))
    table = Table(
        "stage", "kind", "examples", "validation", "prompt tokens\nmean / longest", "tokens per update\nat most"
    )
    for name, stage_config in config.stages.items():
        data = build_stage(name, stage_config, seed=config.seed, model_path=config.model.path)
        measured = _measure(data, config.model.path, console)
        data, lengths = measured.data, measured.prompt_lengths
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        table.add_row(
            name,
            stage_config.kind,
            f"{len(data.stage.training):,}",
            f"{len(data.stage.validation):,}",
            f"{mean:,.0f} / {max(lengths):,}" if lengths else "unknown",
            _tokens_per_update(stage_config, mean, measured.taught),
        )
        if measured.taught is not None:
            console.print(f"{name}: {_epoch(stage_config.sft, measured.taught)}", highlight=False)
        for reason, count in data.dropped.items():
            console.print(f"{name}: {count} left out ({reason})", highlight=False)
    console.print(table)
    console.print(
        "Tokens per update count the trained batch with completions of full length (sft: the longest examples); "
        "dynamic sampling may roll out up to max_draws times as many groups.",
        highlight=False,
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A stage's data with what the model's tokenizer says of it."""

    data: StageData
    prompt_lengths: Sequence[int]
    """Tokens of each training prompt; none where the model is not at hand."""
    taught: TaughtData | None
    """The examples of an sft stage as token ids; None for other stages, and where the model is not at hand."""


def _measure(data: StageData, model_path: str, console: Console) -> _Measured:
    """Lengths by the model's tokenizer; none, with a word about it, where the model is not at hand."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
        model_config = AutoConfig.from_pretrained(model_path, trust_remote_code=False)
    except (OSError, ValueError):
        console.print(f"the tokenizer of {model_path} is not at hand, so prompt lengths are unknown", highlight=False)
        return _Measured(data=data, prompt_lengths=[], taught=None)
    data, lengths = fit_prompts(data, model_config, tokenizer, save_lengths=False)
    if data.stage.config.kind != "sft":
        return _Measured(data=data, prompt_lengths=lengths, taught=None)
    data, taught = tokenize_stage(data, model_config, tokenizer)
    lengths = [len(example.prompt_ids) for example in taught.training]
    return _Measured(data=data, prompt_lengths=lengths, taught=taught)


def _tokens_per_update(config: StageConfig, mean_prompt: float, taught: TaughtData | None) -> str:
    if config.kind != "sft":
        sampling = config.sampling
        most = sampling.groups_per_update * sampling.group_size * (mean_prompt + sampling.max_completion_tokens)
        return f"{most:,.0f}"
    if taught is None:
        return "unknown"
    longest = sorted(map(len, taught.training), reverse=True)
    return f"{sum(longest[: config.sft.batch_size]):,}"


def _epoch(settings: SFTConfig, taught: TaughtData) -> str:
    lengths = [len(example.completion_ids) for example in taught.training]
    draws = count_draws(lengths, settings)
    return (
        f"{sum(map(len, taught.training)):,} tokens per epoch, {sum(lengths):,} of them learned; "
        f"{math.ceil(draws / settings.batch_size):,} updates"
    )

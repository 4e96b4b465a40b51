"""What a run would do: the resolved recipe, the number of examples, and the tokens it may cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoTokenizer

from srl.config import RunConfig
from srl.recipe import config_to_json
from srl.stage_data import StageData, build_stage, fit_prompts


def print_dry_run(config: RunConfig, console: Console) -> None:
    """Print the resolved run and, for each stage, examples and token budget. Trains and writes nothing."""
    console.print_json(config_to_json(config))
    table = Table(
        "stage", "kind", "examples", "validation", "prompt tokens\nmean / longest", "tokens per update\nat most"
    )
    for name, stage_config in config.stages.items():
        data = build_stage(name, stage_config, seed=config.seed, model_path=config.model.path)
        data, lengths = _measure(data, config.model.path, console)
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        sampling = stage_config.sampling
        most = sampling.groups_per_update * sampling.group_size * (mean + sampling.max_completion_tokens)
        table.add_row(
            name,
            stage_config.kind,
            f"{len(data.stage.training):,}",
            f"{len(data.stage.validation):,}",
            f"{mean:,.0f} / {max(lengths):,}" if lengths else "unknown",
            f"{most:,.0f}",
        )
        for reason, count in data.dropped.items():
            console.print(f"{name}: {count} left out ({reason})", highlight=False)
    console.print(table)
    console.print(
        "Tokens per update count the trained batch with completions of full length; dynamic sampling may roll out up "
        "to max_draws times as many groups.",
        highlight=False,
    )


def _measure(data: StageData, model_path: str, console: Console) -> tuple[StageData, Sequence[int]]:
    """Prompt lengths by the model's tokenizer; none, with a word about it, where the model is not at hand."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
        model_config = AutoConfig.from_pretrained(model_path, trust_remote_code=False)
    except (OSError, ValueError):
        console.print(f"the tokenizer of {model_path} is not at hand, so prompt lengths are unknown", highlight=False)
        return data, []
    return fit_prompts(data, model_config, tokenizer, save_lengths=False)

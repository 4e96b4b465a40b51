"""Writes docs/configuration.md and docs/metrics.md from the code: ``python docs/make_reference.py [--check]``.

In: the dataclasses of srl/config.py with the string under each field, the definitions of srl/metrics.py, the scores
and outcomes of srl/evaluation. Out: the two pages. ``--check`` writes nothing and fails when a page is out of date.

The strings under the fields are ordinary string statements, which Python forgets; they are read from the source.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from srl.config import CONFIG_TYPES, RunConfig
from srl.evaluation.solve import Mode, SolveOutcome
from srl.metrics import DEFINITIONS
from srl.types import Score

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs"
LONGEST_IN_TABLE = 60
"""Longer default texts stand below their table."""

GENERATED = "<!-- Written by docs/make_reference.py; change the code and run it again. -->"

CONFIGURATION_INTRO = """\
# Configuration

One TOML file, a recipe, describes one run, whole; `srl train RECIPE.toml` runs it. The paper's values are the
defaults where the paper gives them ([method.md](method.md) says which table, and lists the differences). An unknown
key, a wrong type and a setting that has no effect with the others chosen are errors that name the key.

Every setting can be overridden on the command line, with dots between the tables and `-` for `_`:

```text
srl train recipes/math-7b-srl.toml --seed 1 --stages.srl.sampling.min-reward-std 0.02
```

`--dry-run` prints the resolved run. The same JSON stands as `config.json` in the run folder. Shipped recipes:
[recipes/](../recipes).
"""

METRICS_INTRO = """\
# Metrics and scores

## `metrics.jsonl`

One JSON object per line: line 0 of a stage is the validation before its first update, then one line per update. A key
that does not apply is left out, and so is NaN, which JSON does not have. Every key that is written is defined here;
writing another one is an error.
"""

SCORES_INTRO = """\
## `scores.json`

`srl evaluate` writes one into its output folder (`scores`, `outcomes`, `settings`), and `srl quickstart` one into its
run folder (`models`: a list of scores for each model). A score is one object:
"""

SCORE_NAMES = """\
The names, with K the number of samples per problem:
"""

MODES: dict[Mode, str] = {
    "whole": "the whole solution is written in one completion",
    "stepwise": "one step per completion, the policy's own steps fed back as context, until an answer is given",
}
SCORES = {
    "{mode}/greedy": "Share of problems solved by one greedy sample.",
    "{mode}/avg@K": "Share of right samples among K per problem at the sampling temperature.",
    "{mode}/pass@K": "Chance that at least one of K samples is right, unbiased, mean over problems.",
}
STEP_SCORES = {
    "steps/greedy": "Share of held-out steps whose greedy action is the expert's word for word, given the expert's "
    "earlier steps. A lower bound on being right. Only in `srl quickstart`.",
}

OUTCOMES_INTRO = """\
`outcomes` counts how the samples ended, by score name. Only `answered` can be right.
"""
OUTCOMES = {
    SolveOutcome.ANSWERED: "A final answer was found; it is right or wrong.",
    SolveOutcome.UNGRADED: "An answer was found and could not be graded in time; it is left out of the scores.",
    SolveOutcome.NO_ANSWER: "The solution follows the format and marks no final answer.",
    SolveOutcome.FORMAT_ERROR: "The last completion breaks the format or was cut by the token limit.",
    SolveOutcome.MAX_STEPS: "The chain had `max_steps` steps and no answer yet.",
    SolveOutcome.CONTEXT_FULL: "The chain's next prompt could have become longer than `max_prompt_tokens`.",
}

INTERVALS = """\
Intervals are over problems (for `steps/greedy`: over trajectories), never over samples, because the samples of one
problem hang together: Wilson's interval for one sample per problem, else the clustered interval of
[statistics.py](../src/srl/evaluation/statistics.py).
"""


MODEL_NAMES = {
    "base": "base",
    "srl": "SRL",
    "rlvr": "SRL, then RLVR",
    "rlvr-alone": "RLVR alone, as many rollouts",
    "sft": "SFT on the expert's steps, as many examples",
}
COMPARISON_TEXT = """\
Right answers in percent with 95 % intervals, on {num_problems} held-out problems, seed 0 (commit {commit}; `python
benchmarks/quickstart.py --json FILE --seeds 0 --compare`). *Steps*: the next step given the expert's earlier ones.
*Stepwise*: the policy's own steps fed back until there is an answer. *Whole*: the solution in one completion. SFT
learns to leave the thinking out: without `<think>` no step follows the format, so its zeros in the first columns are
format errors."""
RLVR_ALONE_TEXT = """\
With as many rollouts, RLVR alone solves {alone:.0f} % whole (SRL, then RLVR: {both:.0f} %) and {alone_stepwise:.0f} %
step by step ({both_stepwise:.0f} %). Its rollouts are whole solutions, so it sampled {ratio:.1f} times the tokens. When
the base is sampled it solves {base:.0f} % of the problems, so RLVR is not without signal here, unlike in the paper's
setting."""
SEEDS_TEXT = """\
Over {num_seeds} seeds (commit {commit}; `python benchmarks/quickstart.py --json FILE`; {cores} CPU cores, PyTorch
{torch}) SRL raises single steps by at least {gain:.0f} points and solves at least {factor:.0f} times as many problems
step by step; the intervals of the base and of SRL-then-RLVR {apart} in either mode; the slowest run took
{seconds:.0f} seconds. The settings were found on other problems than these; [docs/notebook.md](docs/notebook.md) tells
how."""


def field_strings(cls: type) -> dict[str, str]:
    """The string under each field of a dataclass, "" where there is none; line breaks become spaces."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    strings: dict[str, str] = {}
    last = ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            strings[last] = ""
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings[last] = " ".join(str(node.value.value).split())
            last = ""
        else:
            last = ""
    return strings


def tables(cls: type = RunConfig, path: str = "") -> Iterator[tuple[str, type]]:
    """Every TOML table of a recipe with its dataclass, in the order of the fields."""
    yield path, cls
    hints = get_type_hints(cls)
    for field in fields(cls):
        below = f"{path}.{field.name}".lstrip(".")
        if is_dataclass(hints[field.name]):
            yield from tables(hints[field.name], below)
        elif get_origin(hints[field.name]) is dict:
            yield from tables(get_args(hints[field.name])[1], f"{below}.NAME")


def undocumented_fields() -> list[str]:
    """Fields without a string, but for tables, which their class documents."""
    missing: list[str] = []
    for cls in CONFIG_TYPES:
        hints, strings = get_type_hints(cls), field_strings(cls)
        missing += [
            f"{cls.__name__}.{field.name}"
            for field in fields(cls)
            if not strings[field.name] and not is_dataclass(hints[field.name])
        ]
    return missing


def configuration_page() -> str:
    """docs/configuration.md."""
    parts = [GENERATED, CONFIGURATION_INTRO]
    for path, cls in tables():
        heading = f"`[{path}]`" if path else "Top level"
        parts.append(f"## {heading}\n\n{(inspect.getdoc(cls) or '').strip()}\n")
        parts.append(_fields_table(path, cls))
        parts += _long_defaults(cls)
    return "\n".join(parts)


def metrics_page() -> str:
    """docs/metrics.md."""
    scores = {
        name.format(mode=mode): f"{text} Mode `{mode}`: {MODES[mode]}."
        for mode in get_args(Mode)
        for name, text in SCORES.items()
    }
    return "\n".join(
        [
            GENERATED,
            METRICS_INTRO,
            _table("key", "definition", {f"`{key}`": text for key, text in DEFINITIONS.items()}),
            SCORES_INTRO,
            _table("field", "meaning", {f"`{name}`": text for name, text in field_strings(Score).items()}),
            SCORE_NAMES,
            _table("name", "definition", {f"`{name}`": text for name, text in (scores | STEP_SCORES).items()}),
            OUTCOMES_INTRO,
            _table("outcome", "meaning", {f"`{outcome}`": OUTCOMES[outcome] for outcome in SolveOutcome}),
            INTERVALS,
        ]
    )


def readme_page() -> str:
    """The README with the results between its marks taken from the committed benchmark files."""
    readme = (ROOT / "README.md").read_text("utf-8")
    head, start, rest = readme.partition("<!-- results -->\n")
    _, end, tail = rest.partition("<!-- /results -->\n")
    return head + start + _results() + end + tail


def _results() -> str:
    seeds, comparison = (_benchmark(name) for name in ("quickstart", "quickstart-compare"))
    (run,) = comparison["runs"]
    shown = ("steps/greedy", "stepwise/greedy", "stepwise/avg@4", "whole/greedy", "whole/avg@4")
    rows = [f"| model | {' | '.join(shown)} | tokens sampled |", "|---|" + "---|" * (len(shown) + 1)]
    for model, scores in run["models"].items():
        by_name = {score["name"]: score for score in scores}
        cells = " | ".join(_score_cell(by_name[name]) for name in shown)
        rows.append(f"| {MODEL_NAMES[model]} | {cells} | {run['sampled_tokens'][model] / 1e6:.2f} M |")
    about_run = COMPARISON_TEXT.format(
        num_problems=run["models"]["base"][1]["num_problems"],
        commit=comparison["environment"]["git"]["commit"][:10],
    )
    paragraphs = [about_run, RLVR_ALONE_TEXT.format(**_rlvr_alone(run)), SEEDS_TEXT.format(**_over_seeds(seeds))]
    filled = [textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False) for text in paragraphs]
    return "\n\n".join(["\n".join(rows), *filled]) + "\n"


def _rlvr_alone(run: dict[str, Any]) -> dict[str, float]:
    percent = {
        model: {score["name"]: 100 * score["value"] for score in scores} for model, scores in run["models"].items()
    }
    return {
        "alone": percent["rlvr-alone"]["whole/greedy"],
        "both": percent["rlvr"]["whole/greedy"],
        "alone_stepwise": percent["rlvr-alone"]["stepwise/greedy"],
        "both_stepwise": percent["rlvr"]["stepwise/greedy"],
        "ratio": run["sampled_tokens"]["rlvr-alone"] / run["sampled_tokens"]["rlvr"],
        "base": percent["base"]["whole/avg@4"],
    }


def _over_seeds(seeds: dict[str, Any]) -> dict[str, Any]:
    summary, about = seeds["summary"], seeds["environment"]
    are_apart = summary["stepwise_intervals_apart"] and summary["whole_intervals_apart"]
    return {
        "num_seeds": summary["num_seeds"],
        "gain": 100 * summary["min_step_accuracy_gain"],
        "factor": summary["min_stepwise_factor"],
        "apart": "do not overlap" if are_apart else "overlap",
        "seconds": summary["max_seconds"],
        "cores": about["hardware"]["cpu_count"],
        "torch": about["versions"]["torch"],
        "commit": about["git"]["commit"][:10],
    }


def _benchmark(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def _score_cell(score: dict[str, Any]) -> str:
    value, low, high = (round(100 * score[key]) for key in ("value", "low", "high"))
    return f"**{value}** [{low}-{high}]"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration_page,
    "metrics.md": metrics_page,
    "../README.md": readme_page,
}


def outdated_pages() -> list[str]:
    """Names of the pages that differ from what the code says, or are missing."""
    return [
        name
        for name, page in PAGES.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != page()
    ]


def main() -> None:
    """Write the pages, or with ``--check`` only compare them."""
    if missing := undocumented_fields():
        sys.exit(f"fields without a string under them: {', '.join(missing)}")
    if sys.argv[1:] == ["--check"]:
        if outdated := outdated_pages():
            sys.exit(f"out of date: {', '.join(outdated)}; run: python docs/make_reference.py")
    elif sys.argv[1:]:
        sys.exit("usage: python docs/make_reference.py [--check]")
    else:
        for name, page in PAGES.items():
            (FOLDER / name).write_text(page(), encoding="utf-8")


def _fields_table(path: str, cls: type) -> str:
    hints, strings = get_type_hints(cls), field_strings(cls)
    rows: list[str] = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for field in fields(cls):
        hint = hints[field.name]
        if is_dataclass(hint):
            link = f"{path}.{field.name}".lstrip(".")
            needed = "required" if _is_required(field) else "its defaults"
            text = f"Table [`[{link}]`](#{link.replace('.', '').lower()})."
            rows.append(f"| `{field.name}` | table | {needed} | {text} |")
        else:
            rows.append(
                f"| `{field.name}` | {_type_name(hint)} | {_default_cell(field)} | {_cell(strings[field.name])} |"
            )
    return "\n".join(rows) + "\n"


def _long_defaults(cls: type) -> list[str]:
    return [
        f"Default of `{field.name}`:\n\n```text\n{field.default}\n```\n" for field in fields(cls) if _is_long(field)
    ]


def _table(left: str, right: str, rows: dict[str, str]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(key)} | {_cell(text)} |" for key, text in rows.items())]) + "\n"


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(f"`{_toml(value)}`" for value in get_args(hint))
    if get_origin(hint) is dict:
        return "tables"
    if isinstance(hint, UnionType):
        return "text, or a table of names and numbers"
    if get_origin(hint) is tuple:
        return f"{len(get_args(hint))} numbers"
    return {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}[hint]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _is_long(field: Field[Any]) -> bool:
    return isinstance(field.default, str) and len(field.default) > LONGEST_IN_TABLE


def _default_cell(field: Field[Any]) -> str:
    if _is_required(field):
        return "required"
    return "see below" if _is_long(field) else f"`{_toml(field.default)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in cast('tuple[object, ...]', value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).replace("e-0", "e-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


if __name__ == "__main__":
    main()

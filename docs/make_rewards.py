"""Fills the measured parts of docs/rewards.md from the benchmarks' figures.

    python docs/make_rewards.py [--check]

What stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is made from a file of benchmarks/results: "similarities"
from similarities.json, "speed" from similarity.json, "comparison" from rewards.json. The rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = FOLDER / "rewards.md"
RESULTS = FOLDER.parent / "benchmarks" / "results"
FIGURES = RESULTS / "similarities.json"

KINDS = {
    "respelled, equal": "other LaTeX",
    "sides_swapped, equal": "sides of an equation swapped",
    "operands_swapped, equal": "operands swapped",
    "reworded, equal": "other words",
    "lines_reordered, equal": "list items reordered",
    "result_left_out, other": "last formula left out",
    "number_changed, other": "a number changed",
    "digits_swapped, other": "digits swapped",
    "sign_flipped, other": "a sign flipped",
    "letter_renamed, other": "a letter changed",
}


def between(page: str, name: str, content: str) -> str:
    """The page with what stands between the marks of ``name`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise SystemExit(f"{PAGE.name} needs the marks of {name} once")
    return pattern.sub(lambda marks: f"{marks[1]}{content}{marks[2]}", page)


def signed(value: float) -> str:
    """Two decimals; a minus sign, and no -0.00."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def correlation(of: dict[str, Any]) -> str:
    """The rank correlation with its interval."""
    low, high = signed(of["spearman_low"]), signed(of["spearman_high"])
    return f"{signed(of['spearman'])} [{low}, {high}]"


def duration(microseconds: float) -> str:
    """Microseconds below a millisecond, else milliseconds."""
    return f"{microseconds:,.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:,.1f} ms"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


def main_table(figures: dict[str, Any]) -> str:
    """One line for each similarity: correlations, the share of wrong preferences, time."""
    rows: list[list[str]] = []
    for name, of in figures["similarities"].items():
        rows.append(
            [
                label(name),
                *(correlation(of[part]) for part in ("all", "real", "certain")),
                f"{100 * of['prefers_wrong']['all']:.0f} %",
                f"{duration(of['microseconds'])} ({duration(of['microseconds_p99'])})",
            ]
        )
    for name, reason in figures["not_measured"].items():
        rows.append([label(name), reason, "", "", "", ""])
    return table(
        ["similarity", "all 500", "250 real", "250 certain", "prefers the wrong action", "median time (99 %)"], rows
    )


def label(name: str) -> str:
    """The name as it stands in a recipe, and what was set beside it."""
    first, comma, rest = name.partition(", ")
    return f"`{first}`{comma}{rest}"


def kinds_table(figures: dict[str, Any]) -> str:
    """Mean similarity by what was done to a step, one column for each similarity without further settings."""
    names = [name for name in figures["similarities"] if "," not in name]
    rows = [
        [words, *(f"{figures['similarities'][name]['certain']['mean_by_kind'][kind]:.2f}" for name in names)]
        for kind, words in KINDS.items()
    ]
    right, wrong = rows[:5], rows[5:]
    blank = [""] * len(names)
    return table(
        ["action", *map(label, names)],
        [["**the same mathematics**", *blank], *right, ["**other mathematics**", *blank], *wrong],
    )


def agents_table(figures: dict[str, Any]) -> str:
    """The sets of commands and of tool calls."""
    rows = [
        [
            words,
            label(name),
            f"{of['auc']:.2f}",
            f"{100 * of['prefers_wrong']['all']:.0f} %",
            duration(of["microseconds"]),
        ]
        for kind, words in (("commands", "commands"), ("tool_calls", "tool calls"))
        for name, of in figures[kind].items()
    ]
    return table(["set", "similarity", "AUC", "prefers the wrong action", "median time"], rows)


def measured_at(figures: dict[str, Any]) -> str:
    """The commit and the machine."""
    commit = (figures["environment"]["git"] or {"commit": "unknown"})["commit"][:7]
    return f"commit {commit} on {figures['environment']['hardware']['cpu_count']} cores"


def content_of(figures: dict[str, Any]) -> str:
    """All that is measured."""
    return "\n".join(
        [
            main_table(figures),
            "Mean similarity to the target, by what was done to it:\n",
            kinds_table(figures),
            "Agents' actions, all labels certain:\n",
            agents_table(figures),
            f"Measured at {measured_at(figures)}, one thread.\n",
        ]
    )


def speed_of(figures: dict[str, Any]) -> str:
    """One line for each length: half of the words replaced, and the lowest ratios over all kinds of pairs."""
    rows: list[list[str]] = []
    for length, cells in figures["grid"].items():
        cell = cells["50 % replaced"]
        lowest = {key: min(of.get(key, 0.0) for of in cells.values()) for key in ("vs_cydifflib", "vs_difflib")}
        rows.append(
            [
                f"{int(length):,}",
                short(cell["ours_us"]),
                short(cell["cydifflib_us"]),
                short(cell["difflib_us"]) if "difflib_us" in cell else "",
                f"{lowest['vs_cydifflib']:.1f}",
                f"{lowest['vs_difflib']:.0f}" if lowest["vs_difflib"] else "",
            ]
        )
    batch, worst = figures["batch"], max(figures["worst_cases_seconds"].values(), key=lambda of: -max(of.values()))
    threads = " and ".join(f"{seconds:.3f} s" for seconds in batch["seconds_by_threads"].values())
    head = ["characters", "this", "cydifflib", "difflib", "at least x cydifflib", "at least x difflib"]
    return "\n".join(
        [
            table(head, rows),
            f"An update of the paper's size ({batch['num_pairs']:,} pairs of texts of {batch['mean_characters']:.0f} "
            f"characters on average, {batch['longest_characters']:,} at most) takes {threads} with one thread and two, "
            f"and {batch['cydifflib_seconds']:.1f} s with cydifflib. Of the texts made to be slow, the slowest "
            f"pair that a reward compares takes {max(worst.values()):.1f} s. Measured at {measured_at(figures)}.\n",
        ]
    )


def short(microseconds: float) -> str:
    """Two digits, in microseconds or milliseconds."""
    value, unit = (microseconds, "µs") if microseconds < 1000 else (microseconds / 1000, "ms")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def percent(of: dict[str, Any]) -> str:
    """A rate with its interval, or with its seeds where it has none."""
    low, high = (of["low"], of["high"]) if "low" in of else (min(of["seeds"]), max(of["seeds"]))
    mark = "" if "low" in of else " over seeds"
    return f"{100 * of['value']:.0f} [{100 * low:.0f}-{100 * high:.0f}{mark}]"


LABELS = {"outcome-gated, as many tokens": "outcome-gated, fewer updates"}
"""Names that say what came out, where it is not what was meant."""


def comparison_of(figures: dict[str, Any]) -> str:
    """One line for each variant of the training study, and the differences to the paper's reward."""
    names = {"steps/greedy": "steps", "stepwise/greedy": "stepwise", "stepwise/avg@4": "stepwise avg@4"}
    names |= {"whole/greedy": "whole", "whole/avg@4": "whole avg@4"}
    rows: list[list[str]] = []
    differences: list[list[str]] = []
    for variant, of in figures["summary"].items():
        shown, seeds = LABELS.get(variant, variant), str(len(figures["runs"][variant]))
        scores = [percent(of["scores"][name]) for name in names]
        kept = f"{100 * of['kept_rate']:.0f} %"
        rows.append([shown, seeds, *scores, kept, f"{of['sampled_tokens'] / 1e6:.2f} M"])
        if of["difference"]:
            cells = [
                f"{100 * item['value']:+.0f} [{100 * item['low']:+.0f}, {100 * item['high']:+.0f}]".replace("-", "−")
                for item in of["difference"].values()
            ]
            differences.append([shown, *cells])
    return "\n".join(
        [
            table(["reward", "seeds", *names.values(), "groups kept", "tokens sampled"], rows),
            "Difference to `paper` on the same problems, in points (to `one step` for the last):\n",
            table(["reward", *list(names.values())[1:]], differences),
            f"Right answers in percent, all seeds together, with 95 % intervals over problems. Measured at "
            f"{measured_at(figures)}.\n",
        ]
    )


PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "similarities": ("similarities.json", content_of),
    "speed": ("similarity.json", speed_of),
    "comparison": ("rewards.json", comparison_of),
}


def make_page() -> str:
    """The page as it should be."""
    page = PAGE.read_text("utf-8")
    for name, (file, content) in PARTS.items():
        page = between(page, name, content(json.loads((RESULTS / file).read_text("utf-8"))))
    return page


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    arguments = parser.parse_args()
    page = make_page()
    if arguments.check and page != PAGE.read_text("utf-8"):
        raise SystemExit(f"out of date: {PAGE.name}; run: python docs/make_rewards.py")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()

"""Fills the tables of docs/performance.md from the benchmarks' figures.

    python docs/make_performance.py [--check]

What stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is made from benchmarks/results/NAME.json. The rest is
written by hand, and the rows for a GPU are empty.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGE = FOLDER / "performance.md"
RESULTS = FOLDER.parent / "benchmarks" / "results"

SIDES = {
    "trl": "TRL 1.16",
    "trl_compacted": "TRL, head on completions only",
    "off": "ours, padded rows",
    "group": "ours, by group",
    "auto": "ours, by group and trajectory",
}
CASES = {
    "math": "mathematics, examples at random",
    "math_trajectories": "mathematics, whole trajectories",
    "agent": "agents' logs, examples at random",
    "agent_trajectories": "agents' logs, whole trajectories",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def measured_at(figures: dict[str, Any]) -> str:
    """Commit, command and hardware in a sentence."""
    about = figures["environment"]
    hardware, versions = about["hardware"], about["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "trl") if name in versions)
    where = "a CPU" if hardware["device"] == "cpu" else hardware["device"]
    return (
        f"`python benchmarks/{about['command']}` at commit {about['git']['commit'][:10]}, {about['started'][:10]}, "
        f"{hardware['num_threads']} of {hardware['cpu_count']} cores, {where}; {packages}.\n"
    )


def update_of(figures: dict[str, Any]) -> str:
    """Speed and memory of every side in every case."""
    text = ""
    for name, label in CASES.items():
        if name not in figures["cases"]:
            text += f"**{label[0].upper()}{label[1:]}**: not measured; an update of two groups takes TRL minutes.\n\n"
            continue
        case = figures["cases"][name]
        shape = case["shape"]
        prompt, completion = shape["prompt_tokens"], shape["completion_tokens"]
        rows: list[list[str]] = []
        peaks = case["peak_megabytes"]
        for side, shown in SIDES.items():
            rate, of_trl = case["tokens_per_second"][side], case["tokens_per_second"]["trl"]
            ratios = case["ratios"]
            speed = "1" if side == "trl" else f"{ratios.get(f'{side}_vs_trl', rate / of_trl):.2f}"
            rows.append([shown, f"{rate:,}", f"{speed}x", f"{peaks[side]:,.0f}", f"{peaks[side] / peaks['trl']:.2f}x"])
        lean = peaks["trl_1_row"]
        rows.append(["TRL 1.16, one row at a time", "", "", f"{lean:,.0f}", f"{lean / peaks['trl']:.2f}x"])
        rows.append(["on a GPU", "", "", "", ""])
        text += (
            f"**{label[0].upper()}{label[1:]}**: groups of 8: {shape['num_groups']}, prompts of {prompt[0]:,} to "
            f"{prompt[-1]:,} tokens, completions of {completion[0]} to {completion[-1]}. TRL's fastest "
            f"micro-batch has {case['trl_rows']} rows.\n\n"
        )
        text += table(["", "tokens per second", "beside TRL", "peak MB", "beside TRL"], rows) + "\n"
    return text + measured_at(figures)


def scaling_of(figures: dict[str, Any]) -> str:
    """One line for each shape."""
    rows = [
        [
            f"{row['prompt_tokens']:,}",
            str(row["group_size"]),
            f"{row['tokens']:,}",
            f"{row['computed_tokens']['auto']:,}",
            f"{row['seconds']['off']:.2f}" if "off" in row["seconds"] else "",
            f"{row['seconds']['auto']:.2f}",
            f"{row['speedup']:.1f}x" if row["speedup"] else "",
            f"{row['microseconds_per_computed_token']:.0f}",
            f"{100 * row['mfu']['off']:.0f} %" if "off" in row["mfu"] else "",
            f"{100 * row['mfu']['auto']:.0f} %",
        ]
        for row in figures["shapes"]
    ]
    head = ["prompt", "G", "tokens", "computed", "padded, s", "shared, s", "", "µs per computed", "MFU padded", "MFU"]
    peak = figures["summary"]["peak_gflops"]
    return table(head, [*rows, ["on a GPU", *[""] * 9]]) + f"\nPeak {peak} GFLOPS. {measured_at(figures)}"


def logits_of(figures: dict[str, Any]) -> str:
    """The two ways."""
    rows = [[way, f"{of['peak_mebibytes']:,}", f"{of['seconds']:.1f}"] for way, of in figures["ways"].items()]
    rows.append(["on a GPU", "", ""])
    return table(["", "peak MiB above the model", "seconds"], rows) + "\n" + measured_at(figures)


def rollout_of(figures: dict[str, Any]) -> str:
    """One line for each case."""
    rows: list[list[str]] = []
    for name, case in figures["cases"].items():
        prompt, completion = case["prompt_tokens"], case["completion_tokens"]["engine"]
        rates, best = case["tokens_per_second"], case["best"]
        rows.append(
            [
                name,
                f"{prompt['min']} to {prompt['max']}",
                f"{completion['min']} to {completion['max']}, mean {completion['mean']:.0f}",
                f"{rates[best['generate']]:,}",
                f"{rates[best['engine']]:,}",
                f"{case['vs_generate']:.2f}x",
            ]
        )
    rows.append(["on a GPU", *[""] * 5])
    head = ["", "prompt tokens", "completion tokens", "`generate`, tokens per second", "ours", ""]
    return table(head, rows) + "\n" + measured_at(figures)


def end_to_end_of(figures: dict[str, Any]) -> str:
    """Both sides, by part."""
    rows = [
        [label, *(f"{figures[side][key]:.2f}" for key in ("seconds_per_update", "rollout_seconds", "other_seconds"))]
        for side, label in (("trl", "TRL 1.16"), ("ours", "ours"))
    ]
    of = figures["summary"]
    rows.append(["on a GPU", "", "", ""])
    settings = figures["settings"]
    note = (
        f"Seconds, medians over {settings['num_updates'] - 1} updates of {settings['repetitions']} runs each, "
        f"{settings['groups_per_update']} groups of {settings['group_size']}. The ratio is {of['vs_trl']:.1f}x, the "
        f"median of the repetitions' ({of['min_vs_trl']:.1f}x to {of['max_vs_trl']:.1f}x: other work slowed "
        f"single ones down, on either side). Mean reward of the last update: ours "
        f"{of['last_reward']:.2f}, TRL {of['last_reward_trl']:.2f}.\n"
    )
    return (
        table(["", "an update", "sampling (ours: and rewards)", "the rest (TRL: and rewards)"], rows)
        + f"\n{note}{measured_at(figures)}"
    )


def breakdown_of(figures: dict[str, Any]) -> str:
    """Shares of the wall time."""
    shares = {name.removesuffix("_share"): value for name, value in figures["summary"].items() if "_share" in name}
    cells = [f"{100 * value:.1f} %" for value in shares.values()]
    seconds = figures["summary"]["total_seconds"]
    return table(list(shares), [cells]) + f"\nOf {seconds:.0f} seconds. {measured_at(figures)}"


PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "update": update_of,
    "scaling": scaling_of,
    "logits": logits_of,
    "rollout": rollout_of,
    "end_to_end": end_to_end_of,
    "breakdown": breakdown_of,
}


def make_page() -> str:
    """The page as it should be."""
    page = PAGE.read_text("utf-8")
    for name, content in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            raise SystemExit(f"{PAGE.name} needs the marks of {name} once")
        text = content(json.loads((RESULTS / f"{name}.json").read_text("utf-8")))
        page = pattern.sub(lambda marks, text=text: f"{marks[1]}{text}{marks[2]}", page)
    return page


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    arguments = parser.parse_args()
    page = make_page()
    if arguments.check and page != PAGE.read_text("utf-8"):
        raise SystemExit(f"out of date: {PAGE.name}; run: python docs/make_performance.py")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()

"""Fills the tables of docs/results.md, and the one of README.md, from the studies' figures.

    python docs/make_results.py [--check]

What stands between ``<!-- STUDY.TABLE -->`` and ``<!-- /STUDY.TABLE -->`` is made from
benchmarks/results/study-STUDY.json, the results.json that ``srl study`` writes. The rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PAGES = (FOLDER / "results.md", FOLDER.parent / "README.md")
RESULTS = FOLDER.parent / "benchmarks" / "results"
SIGNIFICANT = 0.05
MARKS = {("against_base", 1): "▲", ("against_base", -1): "▼", ("against_method", 1): "△", ("against_method", -1): "▽"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)]
    return "\n".join(lines) + "\n"


def study_table(figures: Mapping[str, Any], name: str) -> str:
    """One table of a study, and where it comes from."""
    found = next(item for item in figures["tables"] if item["name"] == name)
    metrics = found["metrics"]
    rows = [
        [row["label"], *(_cell(row["cells"].get(metric)) for metric in metrics), _spent(row["spent"])]
        for row in found["rows"]
        if row["cells"]
    ]
    notes = "".join(f"{note[0].upper()}{note[1:]}.\n" for note in found["notes"] if " of " not in note.split(":")[-1])
    facts = "; ".join(figures["facts"])
    return f"{table(['', *metrics, 'rollouts / tokens'], rows)}\n{notes}{facts[0].upper()}{facts[1:]}.\n"


def short_table(figures: Mapping[str, Any]) -> str:
    """The means of the main table alone."""
    found = next(item for item in figures["tables"] if item["name"] == "main")
    metrics = [metric for metric in found["metrics"] if not metric.startswith("steps/")]
    rows = [
        [row["label"], *(f"{100 * row['cells'][metric]['estimate']['mean']:.0f}" for metric in metrics)]
        for row in found["rows"]
    ]
    return table(["right, in per cent", *metrics], rows)


def map_table(figures: Mapping[str, Any]) -> str:
    """Rates of every method at every place of a map; the best is bold, and starred where its lead is significant."""
    labels = {name: method["label"] or name for name, method in figures["study"]["methods"].items()}
    rows: list[list[str]] = []
    for found in figures["cells"]:
        rates, best = found["rates"], next(iter(found["rates"]), "")
        star = "\\*" if found["lead"] and found["lead"]["p"] < SIGNIFICANT else ""
        shown = {name: f"{100 * rate['mean']:.0f}" for name, rate in rates.items()}
        shown[best] = f"**{shown.get(best, '')}**{star}"
        place = [f"{100 * found['base']['mean']:.0f}", str(found["cell"]["num_train"])]
        rows.append([*place, *(shown.get(name, "–") for name in labels)])
    facts = "; ".join(figures["facts"])
    head = ["base", "trajectories", *labels.values()]
    return f"{table(head, rows)}\n{facts[0].upper()}{facts[1:]}.\n"


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "–"
    found = cell["estimate"]
    marks = "".join(
        mark
        for (name, sign), mark in MARKS.items()
        if cell[name] is not None
        and cell[name]["p_corrected"] < SIGNIFICANT
        and (cell[name]["difference"]["mean"] > 0) == (sign > 0)
    )
    return f"**{100 * found['mean']:.0f}** [{100 * found['low']:.0f}-{100 * found['high']:.0f}] {marks}".strip()


def _spent(spent: Mapping[str, float] | None) -> str:
    if spent is None:
        return "–"
    return f"{spent['rollouts']:,.0f} / {(spent['sampled_tokens'] + spent['learned_tokens']) / 1000:,.0f} k"


def make_page(page: Path) -> str:
    """The page as it should be."""

    def fill(marks: re.Match[str]) -> str:
        study, name = marks[1], marks[2]
        figures = json.loads((RESULTS / f"study-{study}.json").read_text("utf-8"))
        made = {"map": map_table, "short": short_table}
        text = made[name](figures) if name in made else study_table(figures, name)
        return f"<!-- {study}.{name} -->\n{text}<!-- /{study}.{name} -->"

    pattern = r"<!-- ([\w-]+)\.(\w+) -->\n.*?<!-- /\1\.\2 -->"
    return re.sub(pattern, fill, page.read_text("utf-8"), flags=re.DOTALL)


def main() -> None:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a page is out of date")
    arguments = parser.parse_args()
    for page in PAGES:
        text = make_page(page)
        if arguments.check and text != page.read_text("utf-8"):
            raise SystemExit(f"out of date: {page.name}; run: python docs/make_results.py")
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()

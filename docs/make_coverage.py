"""Writes docs/data-coverage.md: what `srl decompose` makes of a folder of real files.

    python docs/make_coverage.py --data ../shared/data

One run over the whole folder, with ``--format auto``; the page shows its counts by file, and for folders of single
logs by folder.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from srl.decomposition.run import decompose
from srl.decomposition.summary import DecomposeSummary, FileCounts

PAGE = Path(__file__).parent / "data-coverage.md"

HEAD = """\
# Coverage on real files

What `srl decompose DATA -o steps` makes of {num_files} real files of every kind, in one run with `--format auto`:
{read:,} rows, {parsed:,} trajectories, {examples:,} step examples. `python docs/make_coverage.py --data DATA` writes
this page, and a test compares it with the code. The files lie beside the repository and not in it; their names say
what they are, and every row that was left out is counted with its reason.

A row with several sampled solutions counts once for each. *Cut by* names the splitter that served ([data.md](data.md),
"Steps"): `lines` are GSM8K's, `turns` an agent's.

| file or folder | rows | trajectories | examples | format | cut by | left out |
|---|---|---|---|---|---|---|
"""

TAIL = """
Left out:

- `missing_field`: {unsolved} are benchmark rows with an answer and no solution; the others belong to a file of
  outcomes, which is read with `--outcomes`.
- `empty_field` and `too_few_steps`: the source holds nothing there (a model that gave no answer, a trace cut off before
  its solution), or a solution of one sentence. `srl rewrite` is for those that are worth it.
- `superseded`: logs of single calls to a model; the last one of a conversation has it whole.
- `not_data`: a text file in the folder.

Decided on the way, over all agents' logs: {notes}. [data.md](data.md) says what each means.
"""


def group_of(file: str, root: Path) -> str:
    """The file, or for logs that come one per file, their folder."""
    path = Path(file).relative_to(root)
    return str(path.parent) + "/" if path.suffix in (".json", ".traj") else str(path)


def add(total: FileCounts, one: FileCounts) -> None:
    """Sum two counts."""
    total.parsed += one.parsed
    total.examples += one.examples
    for name in ("formats", "splitters", "dropped"):
        getattr(total, name).update(getattr(one, name))


def page_of(summary: DecomposeSummary, root: Path) -> str:
    """The whole page."""
    groups: dict[str, FileCounts] = {}
    for file, counts in summary.files.items():
        add(groups.setdefault(group_of(file, root), FileCounts()), counts)
    unsolved = sum(counts.dropped["missing_field"] for name, counts in groups.items() if name.startswith("math/"))
    head = HEAD.format(
        num_files=len(summary.files), read=summary.num_read, parsed=summary.num_parsed, examples=summary.num_examples
    )
    rows = [row_of(name, counts) for name, counts in sorted(groups.items())]
    return head + "\n".join(rows) + "\n" + TAIL.format(unsolved=unsolved, notes=listed(summary.notes))


def row_of(name: str, counts: FileCounts) -> str:
    """One line of the table."""
    read = counts.parsed + counts.dropped.total()
    share = f"{counts.parsed:,} ({100 * counts.parsed / read:.1f} %)"
    cells = [name, f"{read:,}", share, f"{counts.examples:,}"]
    return "| " + " | ".join([*cells, listed(counts.formats), listed(counts.splitters), listed(counts.dropped)]) + " |"


def listed(counter: Counter[str]) -> str:
    """Names and counts, the most frequent first; the count alone says nothing where there is one name."""
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    )


def make_page(data: Path, num_workers: int) -> str:
    """Run the command's function over ``data`` and describe what came out."""
    with tempfile.TemporaryDirectory(prefix="srl-coverage-") as place:
        return page_of(decompose(str(data), Path(place) / "steps", num_workers=num_workers), data)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of expert data")
    arguments = parser.parse_args()
    PAGE.write_text(make_page(arguments.data, num_workers=2), "utf-8")


if __name__ == "__main__":
    main()

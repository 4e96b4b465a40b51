"""Time and memory of ``srl decompose`` on many agent logs, made by copying a folder of mini-swe-agent logs.

    python benchmarks/decompose.py --logs FOLDER --json benchmarks/results/decompose.json

Three sizes: every log once, 100 times, and as many copies as make 5,000 trajectories. Every copy gets an instance id of
its own. Memory is the sum of the resident sets of all processes of the command, read every 20 ms; pages that the
processes share are counted once for each, so the figure is an upper bound. What the imports alone take, with as many
processes, is measured too and subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from srl.run_dir import environment

MEGABYTE = 2**20


def copy_logs(logs: Path, folder: Path, num_copies: int) -> int:
    """Write ``num_copies`` logs with ids of their own; returns the bytes written."""
    folder.mkdir()
    num_bytes = 0
    originals = sorted(logs.glob("*.traj.json"))
    for number, path in enumerate(islice(cycle(originals), num_copies)):
        text = path.read_text("utf-8").replace(path.name.removesuffix(".traj.json"), f"copy-{number:05d}")
        (folder / f"copy-{number:05d}.traj.json").write_text(text, "utf-8")
        num_bytes += len(text.encode())
    return num_bytes


def resident_bytes(pid: int) -> tuple[int, int]:
    """Resident memory of a process and all its descendants, and how many processes that are."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    tree = {pid}
    while grown := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    total = 0
    for member in tree:
        try:
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total, len(tree)


def watch(command: list[str], allowed: tuple[int, ...]) -> dict[str, Any]:
    """Run a command; its wall time, the highest sum of resident memory and the highest number of processes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, num_processes = 0, 0
    while process.poll() is None:
        now, count = resident_bytes(process.pid)
        peak, num_processes = max(peak, now), max(num_processes, count)
        time.sleep(0.02)
    if process.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mb": round(peak / MEGABYTE, 1),
        "num_processes": num_processes,
    }


def measure(logs: Path, num_trajectories: int, num_workers: int) -> dict[str, Any]:
    """One run of the command on so many logs."""
    with tempfile.TemporaryDirectory(prefix="srl-benchmark-") as place:
        num_bytes = copy_logs(logs, Path(place) / "logs", num_trajectories)
        command = [sys.executable, "-m", "srl.cli", "decompose", f"{place}/logs", "-o", f"{place}/steps"]
        result = watch([*command, "--num-workers", str(num_workers)], allowed=(0, 3))
        summary = json.loads((Path(place) / "steps" / ".srl" / "summary.json").read_text("utf-8"))
        written = sum(path.stat().st_size for path in Path(place, "steps").glob("examples-*"))
    return {
        "num_trajectories": summary["num_parsed"],
        "num_examples": summary["num_examples"],
        "num_dropped": sum(summary["dropped"].values()),
        "input_mb": round(num_bytes / MEGABYTE, 1),
        "output_mb": round(written / MEGABYTE, 1),
        "num_workers": num_workers,
        **result,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, required=True, help="folder of *.traj.json files")
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    parser.add_argument("--num-workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--num-trajectories", type=int, default=5000)
    arguments = parser.parse_args()
    num_logs = len(list(arguments.logs.glob("*.traj.json")))
    imports = watch([sys.executable, "-c", "import srl.decomposition.command, time; time.sleep(0.5)"], allowed=(0,))
    runs = {}
    sizes = {"1x": num_logs, "100x": 100 * num_logs, f"{arguments.num_trajectories:,}": arguments.num_trajectories}
    for name, num_trajectories in sizes.items():
        runs[name] = measure(arguments.logs, num_trajectories, arguments.num_workers)
        above = runs[name]["peak_mb"] - imports["peak_mb"] * runs[name]["num_processes"]
        runs[name]["peak_above_imports_mb"] = round(above, 1)
        print(name, json.dumps(runs[name]))
    large = runs[f"{arguments.num_trajectories:,}"]
    runs["one worker"] = measure(arguments.logs, arguments.num_trajectories, 1)
    result = {
        "summary": {
            "peak_above_imports_mb_1x": runs["1x"]["peak_above_imports_mb"],
            "peak_above_imports_mb_100x": runs["100x"]["peak_above_imports_mb"],
            "seconds_5000": large["seconds"],
            "examples_5000": large["num_examples"],
            "speedup_of_workers": round(runs["one worker"]["seconds"] / large["seconds"], 2),
        },
        "imports": imports,
        "runs": runs,
        "environment": environment({"device": "cpu", "cores": os.cpu_count()}),
    }
    arguments.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()

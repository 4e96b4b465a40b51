"""Any bytes -> rows, trajectories, drops or a DataError, and nothing else. Linux only.

Run: pip install atheris && python fuzz/fuzz_readers.py CORPUS_FOLDER -max_total_time=600 -rss_limit_mb=4096

Without a corpus the fuzzer begins from the seeds in this file, which have the shape of every format. A crash is
written to crash-*; ``python fuzz/fuzz_readers.py crash-...`` shows it again. What is found becomes a case in a test.

The first byte says how the rest is packed and named, so that the search reaches behind the compression's checksums.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["srl"]):
    from srl.errors import DataError
    from srl.trajectories.reader import parse_rows
    from srl.trajectories.rows import Row, list_units, read_rows, read_unit
    from srl.trajectories.settings import ReadSettings
    from srl.types import DroppedRow, Trajectory

import zstandard

SUFFIXES = ("", ".json", ".jsonl", ".traj", ".parquet", ".txt")
PACKERS = (bytes, bytes, bytes, gzip.compress, zstandard.ZstdCompressor().compress)
UNIT_BYTES = (1, 7, 100)
SETTINGS = (ReadSettings(), ReadSettings(only_right=True))

USER = {"role": "user", "content": "<issue>\nIt fails.\n</issue>"}
CALL = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
SEEDS: tuple[object, ...] = (
    {"problem": "What?", "solution": "1. **A** x\n\n2. **B** \\boxed{1}", "answer": "1", "id": "a"},
    {"question": "What?", "answer": "Half <<4/2=2>>2\nThen ** 2\n#### 2"},
    {"question": "What?", "deepseek_thinking_trajectory": "Hm", "deepseek_attempt": "First.\n\nThen."},
    {"problem": "What?", "solution": "<think>\nHm\n</think>\nStep 1: x\nStep 2: y"},
    {"problem": "What?", "output": ['{"reasoning": "So \\(2\\)\\nand", "answer": 2}'], "chat_history": ["What?"]},
    {"problem": "What?", "code": ["1. a\n\n2. b", "no"], "score": [True, False], "gt": "1"},
    [USER, {"role": "assistant", "content": "THOUGHT: look\n\n```bash\nls\n```"}, {"role": "user", "content": "a"}],
    {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "a"},
        ]
    },
    {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "name": "bash", "input": {}}]}]},
    {
        "messages": [
            USER,
            {"role": "assistant", "content": "<function=bash><parameter=command>ls</parameter></function>"},
        ]
    },
    {
        "trajectory": [{"action": "ls\n", "observation": "a", "thought": "t"}],
        "history": [USER],
        "info": {"exit_status": 0},
    },
    {"trajectory_format": "mini-swe-agent-1", "messages": [USER], "info": {"submission": "x"}, "instance_id": "i"},
    {"instance_id": "i", "history": [{"source": "agent", "action": "run", "args": {"command": "ls"}, "id": 1}]},
    {"messages": [USER], "response": {"choices": [{"message": {"role": "assistant", "content": "x"}}]}, "kwargs": {}},
    {
        "responses_create_params": {"input": [USER]},
        "response": {"output": [{"type": "function_call", "arguments": "{}"}]},
    },
)


def read_anything(data: bytes) -> None:
    """The target: everything that the readers promise about bytes that they have never seen."""
    how, content = (data[0], data[1:]) if data else (0, b"")
    packed = PACKERS[how % len(PACKERS)](content)
    path = FOLDER / f"any{SUFFIXES[how % len(SUFFIXES)]}"
    path.write_bytes(packed[: len(packed) - how // 64])
    try:
        rows = list(read_rows(str(path)))
        cut = [item for unit in list_units(str(path), unit_bytes=UNIT_BYTES[how % 3]) for item in read_unit(unit)]
    except DataError:
        rows = []
    else:
        assert repr(cut) == repr(rows), "the division into units changes the rows"
        assert rows, "a file without any row is an error"
    finally:
        path.unlink()
    for settings in SETTINGS:
        for row in rows:
            items = list(parse_rows([row], settings))
            assert all(isinstance(item, (Trajectory, DroppedRow)) for item in items)
            assert items or isinstance(row, Row), "a dropped row was lost"
            json.dumps([repr(item) for item in items]).encode("utf-8")
            for item in items:
                if isinstance(item, Trajectory):
                    "".join((item.problem, item.answer or "", item.solution, item.trajectory_id)).encode("utf-8")


def write_seeds(folder: Path) -> None:
    """The seeds as one line, as an indented document, and two in a file; the first byte chooses name and packing."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        line = json.dumps(seed).encode()
        (folder / f"seed-{number}-line").write_bytes(b"\x02" + line + b"\n" + line)
        (folder / f"seed-{number}-document").write_bytes(b"\x01" + json.dumps(seed, indent=1).encode())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        FOLDER = Path(scratch) / "input"
        FOLDER.mkdir()
        write_seeds(Path(scratch) / "seeds")
        arguments = sys.argv if any(Path(name).is_file() for name in sys.argv[1:]) else [*sys.argv, f"{scratch}/seeds"]
        atheris.Setup(arguments, read_anything)
        atheris.Fuzz()

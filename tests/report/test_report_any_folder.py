"""Whatever stands in the files of a run folder, the report is a whole page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.report.html import write_report

JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FILES = (
    "config.json",
    "environment.json",
    "scores.json",
    "metrics.jsonl",
    "warnings.jsonl",
    "rollouts/srl-00001.jsonl",
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.lists(st.integers(0, 50), min_size=1, max_size=6), JSON_VALUE)
def test_any_value_in_any_place_gives_a_page(
    new_run: Callable[..., Path], tmp_path: Path, file: str, place: list[int], value: Any
) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        new_run("whole", num_updates={"srl": 1})
    path = tmp_path / "run" / file
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    shutil.copytree(whole, tmp_path / "run")
    text = path.read_text()
    records = [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    replace(records, place, value)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert write_report(tmp_path / "run").read_text("utf-8").endswith("</html>")


def replace(container: Any, place: list[int], value: Any) -> None:
    """Put the value where the numbers lead: each one chooses a child, the last one or a leaf is replaced."""
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    key = keys[place[0] % len(keys)]
    child = container[key]
    if len(place) > 1 and isinstance(child, dict | list) and child:
        replace(child, place[1:], value)
    else:
        container[key] = value


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_give_a_page(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rollouts").mkdir(exist_ok=True)
    for name in FILES:
        (tmp_path / name).write_bytes(content)
    assert write_report(tmp_path).read_text("utf-8").endswith("</html>")

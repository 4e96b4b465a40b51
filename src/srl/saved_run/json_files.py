"""JSON and JSON Lines files that may hold anything -> Python values of a known type.

Nothing here raises on the contents of a file: what cannot be read becomes an empty value and a note in words.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

JsonObject = dict[str, object]
"""An object as it stands in a file; nothing is known about its values."""


def read_object(path: Path, notes: list[str]) -> JsonObject:
    """One JSON object from a file; {} and a note when the file is missing or holds anything else."""
    try:
        value = cast(object, json.loads(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        notes.append(f"{path.name} is missing or cannot be read.")
        return {}
    except (ValueError, RecursionError):  # not JSON, an integer of thousands of digits, nested without end
        notes.append(f"{path.name} is not valid JSON.")
        return {}
    if isinstance(value, dict):
        return cast(JsonObject, value)
    notes.append(f"{path.name} does not hold a JSON object.")
    return {}


def read_lines(path: Path, notes: list[str]) -> list[JsonObject]:
    """The JSON objects of a JSON Lines file; a note for what had to be skipped."""
    try:
        # Only "\n" ends a line: str.splitlines would also cut at U+2028 and others, which JSON texts may hold.
        lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError:
        notes.append(f"{path.name} is missing or cannot be read.")
        return []
    objects: list[JsonObject] = []
    broken: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = cast(object, json.loads(line))
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            objects.append(cast(JsonObject, value))
        elif number == len(lines):
            notes.append(f"The last line of {path.name} is incomplete: the run was interrupted or is still writing.")
        else:
            broken.append(number)
    if broken:
        notes.append(f"{path.name}: {len(broken)} line(s) could not be read and were skipped, first line {broken[0]}.")
    return objects


def as_object(value: object) -> JsonObject:
    """The value when it is a JSON object, else {}."""
    return cast(JsonObject, value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value when it is a JSON array, else []."""
    return cast(list[object], value) if isinstance(value, list) else []


def as_text(value: object) -> str:
    """The value when it is a string; numbers and booleans as JSON writes them; "" for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = as_number(value)
        return "" if number is None else f"{number:g}" if isinstance(value, float) else str(value)
    return value if isinstance(value, str) else ""


def as_number(value: object) -> float | None:
    """The value as a finite float, None for anything else; a boolean is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def as_count(value: object) -> int | None:
    """The value as an integer of at least 0, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**15 else None

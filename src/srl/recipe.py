"""Recipe (strict TOML) in, RunConfig out, and back as JSON: the resolved run that stands in every run folder."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from srl.config import RunConfig
from srl.errors import ConfigError

Settings = TypeVar("Settings")


def load_recipe(path: str | Path) -> RunConfig:
    """Read a recipe, or the config.json of a run.

    Raises ConfigError that names the key, what was found and what is allowed.
    """
    return load_settings(path, RunConfig)


def load_settings(path: str | Path, kind: type[Settings]) -> Settings:
    """Read a settings class from a TOML (or .json) file, as strictly as a recipe. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid {path.suffix.removeprefix('.').upper() or 'TOML'}: {error}") from error
    return _validate(raw, kind, name=str(path))


def config_from_dict(raw: dict[str, Any], *, name: str) -> RunConfig:
    """Validate plain data (a TOML file or a run's config.json). ``name`` is what error messages call it."""
    return _validate(raw, RunConfig, name=name)


def _validate(raw: dict[str, Any], kind: type[Settings], *, name: str) -> Settings:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(raw, default=str))  # strict mode takes tables from JSON only
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
        raise ConfigError(f"{name}: " + "; ".join(problems)) from error


def config_to_json(config: RunConfig) -> str:
    """The resolved run as JSON; ``config_from_dict(json.loads(...))`` gives an equal config."""
    return json.dumps(asdict(config), indent=2, ensure_ascii=False) + "\n"


def _explain(item: Any) -> str:
    """One pydantic error in our own words: path, what was found, what to do."""
    path = ".".join(str(part) for part in item["loc"]) or "recipe"
    if item["type"] == "unexpected_keyword_argument":
        return f"unknown key {path}"
    if item["type"] == "missing":
        return f"{path} is missing and has no default"
    message = item["msg"].removeprefix("Value error, ")
    found = (
        f" (found {item['input']!r})" if not isinstance(item["input"], dict) and item["type"] != "value_error" else ""
    )
    return f"{path}: {message}{found}"

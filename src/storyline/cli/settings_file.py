"""Settings from a TOML file and from `--set name=value`, with unknown names refused by their nearest neighbour."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from storyline.cli.options import COLUMNS, FILES

_TEXTS = {"out", *chain(*COLUMNS.values(), *FILES.values())} - {"channels", "header"}


def read_config(path: Path) -> dict[str, Any]:
    """The top-level keys of a TOML file."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; --config wants a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path} is not valid TOML: {problem}") from None


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """`["dropout=0.3", "pooling=max"]` -> `{"dropout": 0.3, "pooling": "max"}`; values are TOML, bare words text."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set {assignment!r} has no name=value; write for example --set dropout=0.3")
        values[name.strip().replace("-", "_")] = _value(text.strip())
    return values


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def refuse_wrong_types(settings: Mapping[str, Any], source: str) -> None:
    """Raise ValueError where a file, a column or `header` is not what its option would be.

    The estimator's own settings are checked by the estimator.
    """
    for name, value in settings.items():
        if name in _TEXTS and not (isinstance(value, str) and value):
            wanted = f'a text was wanted, such as {name} = "..."'
        elif name == "channels" and not _is_names(value):
            wanted = 'names of columns were wanted, such as channels = "a,b"'
        elif name == "header" and not isinstance(value, bool):
            wanted = "true or false was wanted"
        else:
            continue
        raise ValueError(f"{source} has {name} = {value!r}; {wanted}, or leave it out")


def _is_names(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name for name in names)


def refuse_unknown(settings: Mapping[str, Any], known: Collection[str], source: str) -> None:
    """Raise ValueError for the first key that `known` lacks, with the nearest name."""
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{source} has an unknown setting {name!r}; {hint}")

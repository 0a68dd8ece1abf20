"""The rule of the house: who may import whom (ARCHITECTURE.md), read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import storyline

PACKAGE = Path(storyline.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "cells": set(),
    "kernels": {"cells"},
    "layers": {"cells", "kernels"},
    "memory": {"layers"},
    "capabilities": {"cells", "kernels", "layers"},
    "data": set(),
    "artifact": set(),
    "training": {"data", "artifact"},
    "search": {"layers"},
    "tasks": {"layers", "data", "training", "artifact", "search"},
    "stories": {"layers", "training", "memory"},
    "cli": {"cells", "kernels", "layers", "memory", "capabilities", "data", "artifact", "training", "tasks"}
    | {"stories", "search"},
    "__init__": {"layers", "memory", "tasks"},
    "__main__": {"cli"},
}
# Rooms that must stay light, and what they must never load.
NEVER = {
    "cells": {"numpy", "polars", "sklearn"},
    "artifact": {"pickle"},
    "training": {"pickle"},
    "data": {"pickle"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Absolute dotted names of all that a file imports, relative imports resolved."""
    package = ("storyline", *path.relative_to(PACKAGE).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"{room} is a new room: give it its place in ARCHITECTURE.md and here"
    modules = imported_modules(path)
    for module in modules:
        parts = module.split(".")
        if parts[0] == "storyline" and len(parts) > 1 and parts[1] not in {room, "__version__"}:
            assert parts[1] in MAY_IMPORT[room], f"{path.name}: {room} may not import {module}"
        assert parts[0] not in NEVER.get(room, set()), f"{path.name}: {room} may not import {module}"


def test_no_file_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in drawers]


def test_public_names_are_what_we_promise() -> None:
    assert storyline.__all__ == [
        "GRU", "LSTM", "RNN", "SLSTM", "Answerer", "CellStack", "Chatbot", "Classifier", "LanguageModel", "Summarizer",
        "Tagger", "Translator", "WordVectors", "__version__", "accelerate", "assert_remembers", "diagnose", "horizon",
        "load", "required_horizon", "restore",
    ]  # fmt: skip
    for name in storyline.__all__:
        assert getattr(storyline, name) is not None
    with pytest.raises(AttributeError, match="it has GRU, LSTM"):
        _ = storyline.lstm  # type: ignore[attr-defined]


def test_importing_storyline_does_not_import_torch() -> None:
    code = "import sys, storyline, storyline.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

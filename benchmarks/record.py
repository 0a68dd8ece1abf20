"""A result as a row: what ran, where, at which commit. Rows are appended whole."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def machine() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def processor_features() -> str:
    """Those instruction sets of the processor that decide how fast a product can be; "unknown" off Linux."""
    names = ("avx", "fma", "avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return " ".join(name for name in names if name in flags) or "unknown"


def commit() -> str:
    """The short hash of HEAD, with + where the code measured is not what is committed."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/**/*.py")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def surroundings() -> dict[str, str]:
    """What a row says of the place it was measured in."""
    return {
        "machine": machine(),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def append_row(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV file; a file with other columns is refused rather than mixed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(row)
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file))
        if found != columns:
            raise ValueError(
                f"{path} has the columns {found}, this row has {columns}; move the file away first"
            )
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)

"""Every benchmark by its name, in README's order."""

from __future__ import annotations

from benchmarks.tasks import (
    answers,
    chat,
    digits,
    language,
    mnist,
    summaries,
    tagging,
    text,
    translation,
    vowels,
    word_vectors,
)
from benchmarks.tasks.harness import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for module in (
        digits,
        text,
        word_vectors,
        vowels,
        mnist,
        tagging,
        language,
        translation,
        summaries,
        answers,
        chat,
    )
    for benchmark in module.BENCHMARKS
}

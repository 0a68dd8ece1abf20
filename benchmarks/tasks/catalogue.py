"""Every benchmark by its name, in README's order."""

from __future__ import annotations

from benchmarks.tasks import answers, digits, language, mnist, summaries, tagging, text, vowels, word_vectors
from benchmarks.tasks.harness import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for module in (digits, text, word_vectors, vowels, mnist, tagging, language, answers, summaries)
    for benchmark in module.BENCHMARKS
}

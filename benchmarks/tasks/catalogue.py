"""Every benchmark by its name, in README's order."""

from __future__ import annotations

from benchmarks.tasks import answers, chat, digits, language, mnist, tagging, text, translation, vowels
from benchmarks.tasks.harness import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for module in (digits, text, vowels, mnist, tagging, language, translation, answers, chat)
    for benchmark in module.BENCHMARKS
}

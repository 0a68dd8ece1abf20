"""Agreement on real language: a model of WikiText-2 on Linzen, Gulordava and BLiMP, beside frequency and a 5-gram.

A table on the terminal, and a row of results/agreement.csv for each set, group and judge. Trains what --model does not
hold yet, with the settings of `python -m benchmarks.tasks wikitext2`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory.agreement_judges import (
    Judge,
    Score,
    frequency,
    n_gram,
    published_frequency,
    recurrent,
    score,
)
from benchmarks.memory.agreement_sets import UNKNOWN, Pair, blimp, gulordava, linzen
from benchmarks.record import append_row, surroundings
from benchmarks.tasks.kneser_ney import KneserNey
from benchmarks.tasks.language import TINY, WORDS, wikitext
from storyline import LanguageModel

RESULTS = Path(__file__).parent / "results" / "agreement.csv"
# Every set by its name, from how often each word came in training.
SETS: dict[str, Callable[[Counter[str]], list[Pair]]] = {
    "Linzen": lambda counts: list(linzen(counts)),
    "Gulordava, original": lambda counts: list(gulordava("original")),
    "Gulordava, nonce": lambda counts: list(gulordava("generated")),
    "BLiMP": lambda counts: list(blimp()),
}
_GULORDAVA = ("Gulordava, original", "Gulordava, nonce")
# Of a set, so many pairs are judged at a tiny size, from its whole length.
_TINY_PAIRS = 40


@dataclass(frozen=True)
class Contender:
    """A judge, and what a row says of it.

    sets         those that it can judge; None: all
    told         it knows the two words from elsewhere than the training text: no pair is undecided
    perplexity   on WikiText-2's validation part; None where a judge foretells no text
    """

    name: str
    judge: Judge
    seed: int | None = None
    perplexity: float | None = None
    parameters: int | None = None
    training_seconds: float | None = None
    sets: tuple[str, ...] | None = None
    told: bool = False

    @property
    def label(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"


def add_to(commands: Any) -> None:
    parser = commands.add_parser("agreement", description=__doc__, help="grammar, on real language")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="trained models are read from FOLDER/CORE-SEED, and kept there where they are not yet",
    )
    parser.add_argument("--cores", nargs="*", choices=("lstm", "gru", "rnn"), default=["lstm", "rnn"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=list(SETS), help="all; BLiMP takes minutes"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="seconds; the numbers mean nothing and are not kept"
    )
    parser.add_argument("--no-record", action="store_true", help="write no row")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    place = surroundings()
    words = wikitext("train").split()[: TINY if options.tiny else None]
    counts = Counter(words)
    sets = {name: SETS[name](counts) for name in options.sets}
    if options.tiny:
        sets = {name: pairs[:: math.ceil(len(pairs) / _TINY_PAIRS)] for name, pairs in sets.items()}
    known = set(counts) - {UNKNOWN}
    for name, pairs in sets.items():
        undecided = sum(not pair.decidable(known) for pair in pairs)
        print(
            f"{name}: {len(pairs)} pairs, {undecided} undecided: they differ in a word that training never saw"
        )
    table: dict[str, dict[tuple[str, str], Score]] = {}
    for contender in contenders(words, counts, options):
        for name, pairs in sets.items():
            if contender.sets is not None and name not in contender.sets:
                continue
            began = time.perf_counter()
            scores = by_group(pairs, contender, known)
            seconds = time.perf_counter() - began
            for group, found in scores.items():
                table.setdefault(contender.label, {})[name, group] = found
                if not (options.tiny or options.no_record):
                    append_row(RESULTS, _row(name, group, contender, found, seconds) | place)
            print(f"{contender.label}: {name}: {_shown(scores['all'])} in {seconds:.0f} s", flush=True)
    print_table(table)
    return 0


def contenders(words: list[str], counts: Counter[str], options: argparse.Namespace) -> Iterator[Contender]:
    """The judges, each trained on the same words when its turn comes."""
    yield Contender("frequency in WikiText-2", frequency(counts))
    yield Contender("frequency in its publishers' corpus", published_frequency, sets=_GULORDAVA, told=True)
    valid = wikitext("valid").split()[: TINY // 4 if options.tiny else None]
    began = time.perf_counter()
    ids = {word: number for number, word in enumerate(sorted(counts))}
    kneser_ney = KneserNey(5, vocabulary=len(ids)).fit(np.array([ids[word] for word in words]))
    seconds = time.perf_counter() - began
    read = np.array([ids.get(word, ids[UNKNOWN]) for word in valid])
    yield Contender(
        "5-gram Kneser-Ney",
        n_gram(kneser_ney, ids),
        perplexity=math.exp(kneser_ney.cross_entropy(read)),
        training_seconds=seconds,
    )
    for core in options.cores:
        for seed in options.seeds:
            folder = None if options.model is None else options.model / f"{core}-{seed}"
            model = trained(" ".join(words), core, seed, folder, tiny=options.tiny)
            if (names := set(model.encoder_.names())) < set(counts):
                raise ValueError(
                    f"{folder} holds a model of {len(names)} words, and the training text has {len(counts)}; "
                    "give another --model, so that it is trained anew"
                )
            yield Contender(
                f"{core.upper()} {model.resolved_.hidden_size}",
                recurrent(model),
                seed=seed,
                perplexity=model.evaluate(" ".join(valid))["perplexity"],
                parameters=sum(parameter.numel() for parameter in model.network_.parameters()),
                training_seconds=model.training_summary_["seconds"],
            )


def trained(text: str, core: str, seed: int, folder: Path | None, *, tiny: bool) -> LanguageModel:
    """The model in `folder`; where there is none, or no folder, one is trained, and kept there."""
    settings = WORDS | {"core": core, "seed": seed, "threads": 1}
    if tiny:
        settings |= {"epochs": 1, "hidden_size": 16, "embedding_size": 16, "batch_size": 4, "steps": 20}
    if folder is None or not folder.is_dir():
        model = LanguageModel(**settings).fit(text)
        if folder is not None:
            model.save_pretrained(folder)
        return model
    model = LanguageModel.from_pretrained(folder)
    for name, value in model.get_params().items():
        if name in settings and value != settings[name]:
            raise ValueError(
                f"{folder} was trained with {name}={value!r}, and this benchmark sets {settings[name]!r}; "
                "give another --model, so that it is trained anew"
            )
    return model


def by_group(pairs: Sequence[Pair], contender: Contender, known: set[str]) -> dict[str, Score]:
    """The score of every group, "all" first."""
    margins = contender.judge(pairs)
    decidable = np.array([contender.told or pair.decidable(known) for pair in pairs])
    places: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        for group in pair.groups:
            places.setdefault(group, []).append(place)
    order = ["all", *sorted(group for group in places if group != "all")]
    return {
        group: score(
            margins[places[group]], decidable[places[group]], [pairs[i].cluster for i in places[group]]
        )
        for group in order
    }


def _row(name: str, group: str, contender: Contender, found: Score, seconds: float) -> dict[str, object]:
    def rounded(value: float | None, digits: int = 2) -> object:
        return "" if value is None else round(value, digits)

    return {
        "set": name,
        "group": group,
        "judge": contender.name,
        "seed": "" if contender.seed is None else contender.seed,
        "pairs": found.pairs,
        "decided": found.decided,
        "accuracy_percent": rounded(found.accuracy),
        "low": rounded(found.low),
        "high": rounded(found.high),
        "interval": found.interval,
        "undecided_half_percent": round(found.accuracy_all, 2),
        "undecided_wrong_percent": round(found.accuracy_least, 2),
        "perplexity": rounded(contender.perplexity),
        "parameters": rounded(contender.parameters),
        "training_seconds": rounded(contender.training_seconds, 1),
        "set_seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
    }


def print_table(table: dict[str, dict[tuple[str, str], Score]]) -> None:
    """A line a group, a column a judge: percent of the decided pairs, and 95 %. Paradigms are in the rows only."""
    lines: dict[tuple[str, str], Score] = {}
    for scores in table.values():
        lines |= {key: found for key, found in scores.items() if not key[1].startswith("paradigm")}
    names = list(table)
    print(
        "\n| set | group | decided of pairs | "
        + " | ".join(names)
        + " |\n|---|---|---|"
        + "---|" * len(names)
    )
    for (name, group), any_ in lines.items():
        cells = [_shown(table[judge].get((name, group))) for judge in names]
        print(f"| {name} | {group} | {any_.decided} of {any_.pairs} | " + " | ".join(cells) + " |")
    print("\nof all pairs, each undecided one counted half (as wrong):")
    for judge, scores in table.items():
        for (name, group), found in scores.items():
            if group == "all":
                print(f"{judge}: {name}: {found.accuracy_all:.1f} ({found.accuracy_least:.1f})")


def _shown(found: Score | None) -> str:
    if found is None or found.accuracy is None:
        return "" if found is None else found.interval
    return f"{found.accuracy:.1f} ({found.low:.1f}-{found.high:.1f})"

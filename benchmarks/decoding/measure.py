"""The contest as a row: a trained translator, sentences a second of ours and of the peer, and what a day would take."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import sacrebleu
import torch

from benchmarks.decoding.contest import (
    Contestant,
    Way,
    agreement,
    contestants,
    cores_for,
    fastest,
    text,
)
from benchmarks.record import DATA, append_row, surroundings
from benchmarks.speed.neighbours import BUSY_CORES, Neighbours
from benchmarks.speed.problem import Implementation
from benchmarks.speed.timing import interleave
from storyline import Translator, load

RESULTS = Path(__file__).parent / "results" / "decoding.csv"
WIDTH, ALPHA = 5, 1.0
# What Google said in 2017 it translated: 143 billion words a day, here as sentences of 32.
A_DAY = 4.5e9
MUST, AIM = 2.0, 5.0
# Scores that are closer are equal by the rounding of float32, in which a sentence's log probability is summed.
EQUAL = 1e-4


class UnequalError(Exception):
    """The two do not write the same; the message says how far apart they are."""


def measure(
    folder: Path, threads: int, *, rounds: int = 9, epochs: int = 5, tiny: bool = False
) -> dict[str, object]:
    """The row, printed and (unless tiny) appended to results/decoding.csv.

    folder: of the translator; one is trained for `epochs` and saved there if there is none. Batches are chosen on the
    validation part, for each contestant by itself; what is timed is the test part.
    Raises UnequalError where an output of ours is not the peer's, but for outputs of equal score.
    """
    torch.set_num_threads(threads)
    place = surroundings()
    translator = _translator(folder, epochs, tiny)
    count = 4 if tiny else 1000
    sources = {part: _lines(part, "en")[:count] for part in ("val", "test_2016_flickr")}
    trial, test = (translator.encoder_.encode_sources(texts) for texts in sources.values())
    both = contestants(translator, width=WIDTH, alpha=ALPHA)
    ways = [
        Way(sentences, streams)
        for sentences in ((2,) if tiny else (8, 16, 32, 64, 128, 256))
        for streams in (1, threads)
    ]
    ways = list(dict.fromkeys(ways))
    chosen: dict[str, Way] = {}
    for name, contestant in both.items():
        chosen[name], seconds = fastest(contestant, trial[:400], ways, threads)
        print(f"{name}: seconds for {len(trial[:400])} sentences: {text(seconds)}", flush=True)
    written = {name: contestant.write(test, chosen[name], threads) for name, contestant in both.items()}
    same, apart = agreement(written["storyline"], written["torch"])
    if apart > EQUAL:
        raise UnequalError(
            f"{100 * same:.1f} % of the outputs are the same, and scores of the others differ by {apart:.2g}"
        )
    one = {f"{name}, one by one": contestant for name, contestant in both.items()}
    with Neighbours() as neighbours:
        timings = interleave(
            {
                **{name: _runs(each, test, chosen[name], threads) for name, each in both.items()},
                **{
                    name: _runs(each, test[: max(1, count // 20)], Way(1, 1), threads)
                    for name, each in one.items()
                },
            },
            rounds=2 if tiny else rounds,
            seconds=0.0,
        )
    speed = {name: len(test) / timings[name].median for name in both}
    single = {name: max(1, count // 20) / timings[f"{name}, one by one"].median for name in both}
    texts = [translator.encoder_.target.decode(ids).strip() for ids in written["storyline"][0]]
    references = _lines("test_2016_flickr", "de")[:count]
    row = {
        "sentences": len(test),
        "beam": WIDTH,
        "alpha": ALPHA,
        "sentences_a_second": text(speed),
        "ratio": round(speed["storyline"] / speed["torch"], 3),
        "must": MUST,
        "aim": AIM,
        "one_by_one_a_second": text(single),
        "one_by_one_ratio": round(single["storyline"] / single["torch"], 3),
        "batches": "; ".join(f"{name}: {way}" for name, way in chosen.items()),
        "cores_for_4.5e9_a_day": cores_for(A_DAY, speed["storyline"], threads),
        "seconds_quartiles": "; ".join(
            f"{name}: {' '.join(f'{q:.4g}' for q in timings[name].quartiles)}" for name in both
        ),
        "same_outputs": same,
        "tokens_an_output": round(float(np.mean([len(ids) for ids in written["storyline"][0]])), 2),
        "bleu": round(sacrebleu.corpus_bleu(texts, [references]).score, 2),
        "threads": threads,
        "rounds": rounds,
        **place,
        "others_cores": "" if neighbours.cores is None else round(neighbours.cores, 2),
    }
    _say(row)
    if not tiny:
        append_row(RESULTS, row)
    return row


def _runs(contestant: Contestant, sources: list[np.ndarray], way: Way, threads: int) -> Implementation:
    def run() -> object:
        return contestant.write(sources, way, threads)

    return Implementation(run, dict)


def _translator(folder: Path, epochs: int, tiny: bool) -> Translator:
    """The one of the folder, or a new one: two layers of 256 units and 8,000 byte-pairs, as by default."""
    if (folder / "config.json").is_file():
        found = load(folder)
        if not isinstance(found, Translator):
            raise ValueError(f"{folder} holds a {type(found).__name__}; the contest is one of translators")
        return found
    count = 300 if tiny else None
    more = {"hidden_size": 16, "max_steps": 8, "max_vocabulary": 300, "level": "word"} if tiny else {}
    translator = Translator(**{"epochs": epochs, "seed": 0, "threads": torch.get_num_threads(), **more})
    parts = [(_lines(part, "en")[:count], _lines(part, "de")[:count]) for part in ("train", "val")]
    translator.fit(*parts[0], validation=parts[1])
    translator.save_pretrained(folder)
    return translator


def _lines(part: str, language: str) -> list[str]:
    with gzip.open(DATA / "multi30k" / f"{part}.{language}.gz", "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def _say(row: dict[str, object]) -> None:
    print(
        f"{row['threads']} threads, beam {row['beam']}: {row['sentences_a_second']} sentences a second, ratio "
        f"{row['ratio']} (must {row['must']}, aim {row['aim']}); one by one {row['one_by_one_a_second']}, ratio "
        f"{row['one_by_one_ratio']}; 4.5 billion a day: {row['cores_for_4.5e9_a_day']} cores; {row['batches']}; "
        f"outputs that are the same: {row['same_outputs']}; BLEU {row['bleu']}",
        flush=True,
    )
    if row["others_cores"] and float(str(row["others_cores"])) > BUSY_CORES:
        print(
            f"other processes kept {row['others_cores']} cores busy meanwhile: run it again on an idle machine before "
            "you believe it",
            flush=True,
        )

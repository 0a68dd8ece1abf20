"""Ours and the peer over the same sentences, each as it is fastest; both write the same, or there is no contest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.decoding.peer import TorchTranslator, torch_beam_search
from storyline import Translator
from storyline.data import collate
from storyline.layers import packed
from storyline.search import Beam, Limits, beam_search

Ids = list[int]
# From a batch of sources (sentences, source), their lengths and the most tokens of each output, to outputs and scores.
Decode = Callable[[Tensor, Tensor, Tensor], tuple[list[Ids], list[float]]]


@dataclass(frozen=True)
class Way:
    """How sentences are shared out.

    sentences  of like length, in a batch
    streams    batches side by side, a thread each; 1: one batch at a time, on all threads
    """

    sentences: int
    streams: int

    def __str__(self) -> str:
        return f"{self.sentences} sentences a batch, {self.streams} at a time"


class Contestant:
    """A way of decoding, over whole sets of sentences."""

    def __init__(self, decode: Decode, translator: Translator) -> None:
        self._decode, self._lengths = decode, translator.lengths_

    def write(self, sources: Sequence[np.ndarray], way: Way, threads: int) -> tuple[list[Ids], list[float]]:
        """The best output of each source, and its score."""
        order = np.argsort([len(source) for source in sources], kind="stable").tolist()
        # The longest first: what is begun last is over soon, and no thread waits for another for long.
        batches = [order[at : at + way.sentences] for at in range(0, len(order), way.sentences)][::-1]
        outputs: list[Ids] = [[]] * len(sources)
        scores = [math.nan] * len(sources)

        def one(places: list[int]) -> None:
            batch = collate(sources, places)
            maximum = torch.tensor([self._lengths.output(len(sources[place])) for place in places])
            for place, output, score in zip(
                places, *self._decode(batch.inputs, batch.lengths, maximum), strict=True
            ):
                outputs[place], scores[place] = output, score

        if way.streams == 1:
            for places in batches:
                one(places)
        else:
            # torch keeps the number of threads by thread, and hands the last that was set to those that come later.
            with ThreadPoolExecutor(way.streams, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(one, batches))
            torch.set_num_threads(threads)
        return outputs, scores


def contestants(translator: Translator, *, width: int, alpha: float) -> dict[str, Contestant]:
    """Ours and the peer, on the weights of one translator."""
    network, end = translator.network_.eval(), translator.encoder_.end_id
    pad, fast, plain = network.target.pad_id, packed(network), TorchTranslator(translator).eval()
    beam = Beam(width, alpha)

    @torch.no_grad()
    def ours(ids: Tensor, lengths: Tensor, maximum: Tensor) -> tuple[list[Ids], list[float]]:
        limits = Limits(torch.full((len(ids),), end), end, maximum, forbidden=(pad,))
        best = beam_search(fast, fast.begin(ids, lengths), beam, limits).best
        return [each.tokens.tolist() for each in best], [each.score for each in best]

    def theirs(ids: Tensor, lengths: Tensor, maximum: Tensor) -> tuple[list[Ids], list[float]]:
        best = torch_beam_search(plain, ids, lengths, maximum, width=width, alpha=alpha, end=end, pad=pad)
        return [each.tokens for each in best], [each.score for each in best]

    return {"storyline": Contestant(ours, translator), "torch": Contestant(theirs, translator)}


def fastest(
    contestant: Contestant,
    sources: Sequence[np.ndarray],
    ways: Sequence[Way],
    threads: int,
    *,
    trials: int = 2,
) -> tuple[Way, dict[Way, float]]:
    """The fastest of the ways, and the seconds that each took, the least of `trials`."""
    seconds: dict[Way, float] = {}
    for way in ways:
        took = []
        for _ in range(trials):
            began = time.perf_counter()
            contestant.write(sources, way, threads)
            took.append(time.perf_counter() - began)
        seconds[way] = min(took)
    return min(seconds, key=seconds.__getitem__), seconds


def agreement(
    ours: tuple[list[Ids], list[float]], theirs: tuple[list[Ids], list[float]]
) -> tuple[float, float]:
    """The share of sentences with the very same output, and by how much the scores of the others differ at most.

    Two outputs whose scores are equal to float32's rounding are equally good: either may be found.
    """
    same = [a == b for a, b in zip(ours[0], theirs[0], strict=True)]
    apart = [abs(a - b) for a, b, equal in zip(ours[1], theirs[1], same, strict=True) if not equal]
    return sum(same) / len(same), max(apart, default=0.0)


def cores_for(sentences_a_day: float, sentences_a_second: float, threads: int) -> int:
    """How many cores so many sentences a day would keep busy, at the speed that `threads` of them reached."""
    return math.ceil(sentences_a_day / 86_400 / sentences_a_second * threads)


def text(values: dict[Any, float]) -> str:
    """`name: value; ...`."""
    return "; ".join(f"{name}: {value:.4g}" for name, value in values.items())

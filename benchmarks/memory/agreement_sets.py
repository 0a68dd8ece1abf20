"""Pairs of a right and a wrong continuation: Linzen et al. 2016, Gulordava et al. 2018, BLiMP. They are for tests only.

All are brought into WikiText's tokens, the same for every model. Nothing here, nor in what is trained, was chosen on
them.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import record
from benchmarks.tasks.sources import SOURCES, MissingDataError

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Pair:
    """Two continuations of a context, as tokens; which is likelier?

    groups   where the pair counts, "all" first; a table has a line a group
    cluster  pairs made from one sentence share it: they are no independent draws
    counts   (right, wrong): how frequent both are in the corpus of the publishers, where they say so
    """

    context: tuple[str, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    groups: tuple[str, ...]
    cluster: str
    counts: tuple[int, int] | None = None

    def decidable(self, vocabulary: Collection[str]) -> bool:
        """Whether the words in which the two differ are all known, and the two differ at all.

        Where one is <unk>, its probability is that of a whole class of words, and says nothing of the form.
        Unknown words that both share are no obstacle.
        """
        right, wrong = Counter(self.right), Counter(self.wrong)
        differing = (right - wrong) | (wrong - right)
        known = [
            tuple(word if word in vocabulary else UNKNOWN for word in side)
            for side in (self.right, self.wrong)
        ]
        return all(word in vocabulary for word in differing) and known[0] != known[1]


def tokens(text: str) -> list[str]:
    """A text in the tokens of WikiText: "isn't ex-wife 1,000." -> isn 't ex @-@ wife 1 @,@ 000 .

    Texts that are cut already keep their cuts; "do n't" becomes "don 't", and the quotes `` and '' become ".
    """
    text = re.sub(r"``|''", '"', text)
    text = re.sub(r"(\w) n't\b", r"\1n 't", text)
    text = re.sub(r"(?<=\d)([.,])(?=\d)", r" @\1@ ", text)
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    text = re.sub(r"(?<=\w)'(?=\w)", " '", text)
    text = re.sub(r"(?<=\w)(\.|,|\?|!|;|:|')(?=\s|$)", r" \1", text)
    return text.split()


def _path(folder: str, name: str) -> Path:
    path = record.DATA / folder / name
    if not path.is_file():
        raise MissingDataError(f"no {path}; put it there, from {SOURCES[folder][2]}")
    return path


def linzen(counts: Mapping[str, int]) -> Iterator[Pair]:
    """Linzen, Dupoux and Goldberg 2016, as Gulordava et al. 2018 filtered it: the number of a verb of Wikipedia.

    The set is in small letters throughout; capitals are put where training has them most often, and at the beginning.

    counts  how often each word came in training
    """
    casing, known = commonest_casing(counts), set(counts)
    with gzip.open(
        _path("colorless_green", "linzen_testset/subj_agr_filtered.text.gz"), "rt", encoding="utf-8"
    ) as file:
        sentences = [line.split() for line in file]
    gold = (
        _path("colorless_green", "linzen_testset/subj_agr_filtered.gold")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    for number, (sentence, line) in enumerate(zip(sentences, gold, strict=True), start=1):
        # Some forms of the key begin with a capital, as no word of the sentences does.
        place, right, wrong, attractors = line.lower().split("\t")
        if sentence[int(place)] != right:
            raise ValueError(
                f"line {number}: word {place} is {sentence[int(place)]!r}, and the key says {right!r}"
            )
        context = [casing.get(word, word) for word in tokens(" ".join(sentence[: int(place)]))]
        groups = ("all", _attractors(int(attractors)))
        yield Pair(_begun(context, known), (right,), (wrong,), groups, str(number))


def gulordava(kind: str) -> Iterator[Pair]:
    """Gulordava et al. 2018, English; kind "original" (of a treebank) or "generated" (the same without sense)."""
    with _path("colorless_green", "English/generated.tab").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["type"] == kind]
    for right, wrong in zip(rows[::2], rows[1::2], strict=True):
        if (right["class"], wrong["class"], right["prefix"]) != ("correct", "wrong", wrong["prefix"]):
            raise ValueError(f"two lines are no pair: {right['prefix']!r} and {wrong['prefix']!r}")
        # The treebank cuts at a hyphen, and WikiText writes it @-@ there.
        context = ["@-@" if word == "-" else word for word in tokens(right["prefix"])]
        yield Pair(
            tuple(context),
            (right["form"],),
            (wrong["form"],),
            ("all", _attractors(int(right["n_attr"]))),
            f"{right['pattern']} {right['constr_id']}",
            (int(right["freq"]), int(wrong["freq"])),
        )


def blimp() -> Iterator[Pair]:
    """BLiMP (Warstadt et al. 2020): two sentences that differ in one point of grammar, whole against whole.

    What they begin with together is the context: it costs both the same.
    """
    with gzip.open(_path("blimp", "blimp.jsonl.gz"), "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            right, wrong = tokens(row["sentence_good"]), tokens(row["sentence_bad"])
            same = 0
            while same < min(len(right), len(wrong)) - 1 and right[same] == wrong[same]:
                same += 1
            groups = (
                "all",
                # One paradigm writes the field's name otherwise than the rest.
                f"field: {row['field'].replace('/', '_')}",
                f"phenomenon: {row['linguistics_term']}",
                f"paradigm: {row['UID']}",
            )
            yield Pair(tuple(right[:same]), tuple(right[same:]), tuple(wrong[same:]), groups, str(number))


def commonest_casing(counts: Mapping[str, int]) -> dict[str, str]:
    """Word in small letters -> its commonest spelling in training."""
    found: dict[str, str] = {}
    for word, count in counts.items():
        small = word.lower()
        if small not in found or count > counts[found[small]]:
            found[small] = word
    return found


def _begun(words: list[str], known: Collection[str]) -> tuple[str, ...]:
    """A sentence begins with a capital, if training has seen the word so."""
    first = [word[:1].upper() + word[1:] for word in words[:1]]
    return (*first, *words[1:]) if all(word in known for word in first) else tuple(words)


def _attractors(count: int) -> str:
    """Attractors: nouns of the other number between the subject and its verb."""
    return "4 attractors or more" if count >= 4 else f"{count} attractor{'' if count == 1 else 's'}"

"""Sentences of a Tagger: token lists checked, read as ids, and made into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from storyline.data import Vocabulary, collate
from storyline.tasks.inputs import check_list, lengths_of, refuse_surrogates

Tokens = Sequence[Sequence[str]]
# A longer word is spelled by its first and its last characters, half of these each.
LONGEST_WORD = 32


@dataclass(frozen=True)
class TaggerBatch:
    """Sentences of a batch.

    words, characters, spelled  (batch, time), (batch, time, characters), (batch, time): ids of the words and of their
                                characters, and how many characters each word has; 0 in the padding
    lengths                     (batch,) words of each sentence
    targets                     (batch, time), -100 in the padding; or None
    rows                        (batch,) the user's row of each sentence
    """

    words: Tensor
    characters: Tensor
    spelled: Tensor
    lengths: Tensor
    targets: Tensor | None
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences as ids, with or without tags; `rows` says which of them are meant.

    words     ids of the words of each sentence
    forms     place of each word in the table of distinct forms
    letters   (forms, characters) ids of the characters of each form, 0 beyond its end
    spelled   (forms,) how many characters each has
    tags      ids of the tags of each sentence, or None
    """

    words: list[np.ndarray]
    forms: list[np.ndarray]
    letters: np.ndarray
    spelled: np.ndarray
    rows: np.ndarray
    tags: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Words (n,)."""
        return lengths_of([self.words[row] for row in self.rows])

    def batch(self, places: np.ndarray) -> TaggerBatch:
        """The sentences at the given places among `rows`."""
        rows = self.rows[places]
        words = collate(self.words, rows, self.tags)
        # The first form is the padding: a word of no characters.
        forms = collate(self.forms, rows).inputs.numpy()
        spelled = self.spelled[forms]
        letters = self.letters[forms, : spelled.max()]
        return TaggerBatch(
            words.inputs,
            torch.from_numpy(letters),
            torch.from_numpy(spelled),
            words.lengths,
            words.targets,
            words.rows,
        )

    def take(self, places: np.ndarray) -> Sentences:
        """Only those at the given places."""
        return replace(self, rows=self.rows[places])


def read_sentences(
    sentences: list[list[str]], words: Vocabulary, characters: Vocabulary, *, lowercase: bool
) -> Sentences:
    """Token lists as ids."""
    forms = {
        form: place for place, form in enumerate(sorted({word for tokens in sentences for word in tokens}), 1)
    }
    letters = np.zeros((len(forms) + 1, LONGEST_WORD), dtype=np.int64)
    spelled = np.zeros(len(forms) + 1, dtype=np.int64)
    for form, place in forms.items():
        ids = characters.ids(shortened(form))
        letters[place, : len(ids)], spelled[place] = ids, len(ids)
    return Sentences(
        [words.ids(word.lower() if lowercase else word for word in tokens) for tokens in sentences],
        [np.array([forms[word] for word in tokens], dtype=np.int64) for tokens in sentences],
        letters,
        spelled,
        np.arange(len(sentences)),
    )


def shortened(word: str) -> str:
    """The characters by which a word is spelled."""
    half = LONGEST_WORD // 2
    return word if len(word) <= LONGEST_WORD else word[:half] + word[-half:]


def check_sentences(X: Tokens, name: str) -> list[list[str]]:
    """X as lists of strings, none of them empty; ValueError with the place of what is wrong."""
    sentences = []
    for index, sentence in enumerate(check_list(X, name, "sentences, each a list of words")):
        if isinstance(sentence, str):
            raise ValueError(
                f"{name}[{index}] is a string; give a list of words, {name}[{index}].split() say"
            )
        words = check_list(sentence, f"{name}[{index}]", "words")
        if not words:
            raise ValueError(f"{name}[{index}] is an empty sentence; leave it out")
        for place, word in enumerate(words):
            if not isinstance(word, str) or not word:
                raise ValueError(
                    f"{name}[{index}][{place}] is {word!r}; give strings of at least one character"
                )
            refuse_surrogates(word, f"{name}[{index}][{place}]")
        # NumPy's strings become Python's, as which they come back.
        sentences.append(list(map(str, words)))
    return sentences


def check_tags(sentences: list[list[str]], tags: list[list[str]]) -> None:
    """ValueError where there are not as many tags as words."""
    if len(sentences) != len(tags):
        raise ValueError(f"X has {len(sentences)} sentences and y {len(tags)}; give tags for each")
    for index, (sentence, own) in enumerate(zip(sentences, tags, strict=True)):
        if len(sentence) != len(own):
            raise ValueError(
                f"X[{index}] has {len(sentence)} words and y[{index}] {len(own)} tags; give one for each"
            )

"""Questions whose answers are spans of their contexts: texts to tokens that know where they stand, and to batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from storyline.data import Vocabulary, WordEncoder, collate
from storyline.tasks.answer_scoring import answer_scores
from storyline.tasks.answer_texts import Asked, places_of
from storyline.tasks.sentences import LONGEST_WORD, shortened

# A word of a context matches one of its question by its form, by its lower case, and by so many first letters.
_STEM = 5
MATCHES = 3


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text as tokens: their words' ids, their places among the distinct forms, and where each stands in the text."""

    words: np.ndarray
    forms: np.ndarray
    offsets: np.ndarray  # (tokens, 2): first character, and the one behind the last


@dataclass(frozen=True)
class SpanBatch:
    """Questions of a batch beside their contexts.

    context, question     (batch, time), (batch, words): ids of words; 0 in the padding
    context_forms, question_forms  the same shapes: places of each token's form in `letters`; 0 in the padding
    letters, spelled      (forms, characters), (forms,): the distinct forms, and how many characters each has
    matches               (batch, time, MATCHES): whether a token of the context stands in the question: its form, its
                          lower case, its first five letters
    lengths, asked        (batch,): tokens of context and question
    spans                 (batch, places, 2) as in layers.span_loss; or None
    rows                  (batch,) the user's row of each question
    """

    context: Tensor
    question: Tensor
    context_forms: Tensor
    question_forms: Tensor
    letters: Tensor
    spelled: Tensor
    matches: Tensor
    lengths: Tensor
    asked: Tensor
    spans: Tensor | None
    rows: Tensor


@dataclass(frozen=True, eq=False)
class SpanQuestions:
    """Questions about contexts, as ids; `rows` says which of them are meant.

    contexts   the distinct contexts; `where`: which one each question is about
    questions  each question
    letters    (forms, characters) ids of the characters of each form; the first form is the padding, of none
    alike      (MATCHES, forms): the number that a form shares with the forms it matches
    spans      (places, 2) of each question: first and last token of each place of its answers; or None
    """

    contexts: list[Tokens]
    where: np.ndarray
    questions: list[Tokens]
    letters: np.ndarray
    spelled: np.ndarray
    alike: np.ndarray
    rows: np.ndarray
    spans: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each question's context, (n,)."""
        sizes = np.array([len(context.words) for context in self.contexts], dtype=np.int64)
        lengths: np.ndarray = sizes[self.where[self.rows]]
        return lengths

    def take(self, places: np.ndarray) -> SpanQuestions:
        """Only those at the given places."""
        return replace(self, rows=self.rows[places])

    def unknown(self, unknown_id: int) -> tuple[int, int]:
        """How many of how many words are unknown, each distinct context counted once."""
        read = [*(self.contexts[place] for place in np.unique(self.where[self.rows]))]
        read += [self.questions[row] for row in self.rows]
        return sum(int((each.words == unknown_id).sum()) for each in read), sum(
            len(each.words) for each in read
        )

    def batch(self, places: np.ndarray) -> SpanBatch:
        """The questions at the given places among `rows`."""
        rows = self.rows[places]
        contexts = [self.contexts[place] for place in self.where[rows]]
        questions = [self.questions[row] for row in rows]
        every = np.arange(len(rows))
        context = collate([tokens.words for tokens in contexts], every)
        question = collate([tokens.words for tokens in questions], every)
        in_context = collate([tokens.forms for tokens in contexts], every).inputs.numpy()
        in_question = collate([tokens.forms for tokens in questions], every).inputs.numpy()
        forms, places_of_forms = np.unique(np.concatenate([in_context, in_question], 1), return_inverse=True)
        compact = torch.from_numpy(places_of_forms.reshape(len(rows), -1))
        spelled = self.spelled[forms]
        return SpanBatch(
            context.inputs,
            question.inputs,
            compact[:, : in_context.shape[1]],
            compact[:, in_context.shape[1] :],
            torch.from_numpy(self.letters[forms, : max(1, spelled.max())]),
            torch.from_numpy(spelled),
            torch.from_numpy(self._matches(in_context, in_question)),
            context.lengths,
            question.lengths,
            None if self.spans is None else _padded_spans([self.spans[row] for row in rows]),
            torch.from_numpy(rows),
        )

    def _matches(self, context: np.ndarray, question: np.ndarray) -> np.ndarray:
        """(batch, time, MATCHES) float32; the padding matches nothing that is read."""
        found = np.empty((*context.shape, MATCHES), dtype=np.float32)
        for kind, alike in enumerate(self.alike):
            found[..., kind] = (alike[context][:, :, None] == alike[question][:, None, :]).any(2)
        return found


@dataclass(frozen=True)
class SpanReader:
    """Texts to tokens: the words' encoder and the known characters."""

    words: WordEncoder
    characters: Vocabulary

    def read(self, asked: Asked) -> SpanQuestions:
        """Questions as ids; the spans of their answers, where they are known, of any length.

        Every row is kept; one whose answer does not stand in its context has no span.
        """
        distinct = {context: place for place, context in enumerate(dict.fromkeys(asked.contexts))}
        forms: dict[str, int] = {}
        contexts = [self._tokens(text, forms, f"contexts[{asked.contexts.index(text)}]") for text in distinct]
        questions = [
            self._tokens(text, forms, f"questions[{row}]") for row, text in enumerate(asked.questions)
        ]
        where = np.array([distinct[context] for context in asked.contexts], dtype=np.int64)
        letters, spelled = self._letters(forms)
        spans = None
        if asked.answers is not None:
            spans = [
                token_spans(context, right, contexts[place].offsets)
                for context, right, place in zip(asked.contexts, asked.answers, where, strict=True)
            ]
        return SpanQuestions(
            contexts, where, questions, letters, spelled, _alike(forms), np.arange(len(asked)), spans
        )

    def _tokens(self, text: str, forms: dict[str, int], name: str) -> Tokens:
        offsets = np.array(self.words.offsets(text), dtype=np.int64).reshape(-1, 2)
        if not len(offsets):
            raise ValueError(f"{name} is {text!r}, which holds no word; give at least one")
        found = [text[start:end] for start, end in offsets.tolist()]
        known = (word.lower() if self.words.lowercase else word for word in found)
        places = [forms.setdefault(word, len(forms) + 1) for word in found]
        return Tokens(self.words.vocabulary.ids(known), np.array(places, dtype=np.int64), offsets)

    def _letters(self, forms: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        letters = np.zeros((len(forms) + 1, LONGEST_WORD), dtype=np.int64)
        spelled = np.zeros(len(forms) + 1, dtype=np.int64)
        for form, place in forms.items():
            ids = self.characters.ids(shortened(form))
            letters[place, : len(ids)], spelled[place] = ids, len(ids)
        return letters, spelled


def learn_characters(texts: Iterable[str]) -> Vocabulary:
    """The characters of texts."""
    return Vocabulary.build(Counter(letter for text in texts for letter in text))


def cut_spans(asked: Asked, questions: SpanQuestions, spans: np.ndarray) -> list[tuple[int, int]]:
    """First and last tokens (n, 2) to places in the contexts: first character, and the one behind the last."""
    places = []
    for row, (first, last) in zip(questions.rows.tolist(), spans.tolist(), strict=True):
        offsets = questions.contexts[questions.where[row]].offsets
        places.append((int(offsets[first, 0]), int(offsets[last, 1])))
    assert len(places) == len(asked)
    return places


def span_scores(asked: Asked, questions: SpanQuestions, spans: np.ndarray) -> dict[str, float]:
    """Mean exact match and F1 of the spans found, first and last tokens (n, 2)."""
    assert asked.answers is not None
    places = cut_spans(asked, questions, spans)
    texts = [context[start:end] for context, (start, end) in zip(asked.contexts, places, strict=True)]
    exact, f1 = answer_scores(texts, asked.answers).mean(axis=0).tolist()
    return {"exact_match": exact, "f1": f1}


def said_dropped(dropped: list[int], count: int) -> str | None:
    """What a user is told of training rows that teach a pointing model nothing; None where there are none."""
    if not dropped:
        return None
    shown = ", ".join(map(str, dropped[:10])) + (", ..." if len(dropped) > 10 else "")
    return (
        f"{len(dropped)} of {count} training rows are left out, because no answer of theirs stands in its context, "
        f"letter by letter: rows {shown} (counted from 0)"
    )


def token_spans(context: str, answers: list[str], offsets: np.ndarray) -> np.ndarray:
    """First and last token (places, 2) of each place where one of the answers stands in a context, each once.

    An answer that begins or ends inside a token is given the whole token.
    """
    characters = [place for answer in answers for place in places_of(context, answer)]
    found = set()
    for start, end in characters:
        first = int(np.searchsorted(offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
        if first <= last:
            found.add((first, last))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _alike(forms: dict[str, int]) -> np.ndarray:
    """(MATCHES, forms + 1): equal numbers for forms that match; the padding's matches itself alone."""
    alike = np.zeros((MATCHES, len(forms) + 1), dtype=np.int64)
    numbers: list[dict[str, int]] = [{} for _ in range(MATCHES)]
    for form, place in forms.items():
        lowered = form.lower()
        for row, kind in enumerate((form, lowered, lowered[:_STEM])):
            alike[row, place] = numbers[row].setdefault(kind, len(numbers[row]) + 1)
    return alike


def _padded_spans(spans: list[np.ndarray]) -> Tensor:
    padded = np.full((len(spans), max(1, *(len(each) for each in spans)), 2), -1, dtype=np.int64)
    for row, each in enumerate(spans):
        padded[row, : len(each)] = each
    return torch.from_numpy(padded)

"""Questions whose answers are written: contexts cut into sentences, everything as ids, and made into batches."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from storyline.data import WordEncoder, collate
from storyline.tasks.answer_texts import Asked

# A sentence ends behind one of these signs, where a blank follows or the script has none, and at the end of a line.
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\s*\n\s*")
Ids = np.ndarray


@dataclass(frozen=True)
class StoryBatch:
    """Questions of a batch beside the sentences of their contexts, each distinct sentence once.

    sentences, words  (sentences, words), (sentences,): ids of the distinct sentences, and how many words each has
    context           (batch, facts): places of the sentences of each context among `sentences`; 0 in the padding
    lengths           (batch,): sentences of each context
    question          (batch,): the place of each question among `sentences`
    answers           (batch, time): ids of the answer and the end, -100 in the padding; or None
    rows              (batch,): the user's row of each question
    """

    sentences: Tensor
    words: Tensor
    context: Tensor
    lengths: Tensor
    question: Tensor
    answers: Tensor | None
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Stories:
    """Questions about contexts, as ids; `rows` says which of them are meant.

    sentences  ids of each distinct sentence, those of questions too
    contexts   places of the sentences of each context
    questions  (n,) place of each question
    answers    ids of each question's first right answer, and the end; or None
    """

    sentences: list[Ids]
    contexts: list[Ids]
    questions: Ids
    rows: Ids
    answers: list[Ids] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Ids:
        """Sentences of each context, (n,)."""
        return np.array([len(self.contexts[row]) for row in self.rows], dtype=np.int64)

    def take(self, places: Ids) -> Stories:
        """Only those at the given places."""
        return replace(self, rows=self.rows[places])

    def unknown(self, unknown_id: int) -> tuple[int, int]:
        """How many of how many words of contexts and questions are unknown."""
        sizes = np.array([len(ids) for ids in self.sentences])
        missing = np.array([int((ids == unknown_id).sum()) for ids in self.sentences])
        read = np.concatenate([*(self.contexts[row] for row in self.rows), self.questions[self.rows]])
        return int(missing[read].sum()), int(sizes[read].sum())

    def batch(self, places: Ids) -> StoryBatch:
        """The questions at the given places among `rows`."""
        rows = self.rows[places]
        context = collate(self.contexts, rows)
        at = np.concatenate([context.inputs.numpy().reshape(-1), self.questions[rows]])
        distinct, compact = np.unique(at, return_inverse=True)
        sentences = collate([self.sentences[place] for place in distinct], np.arange(len(distinct)))
        places_of = torch.from_numpy(compact.reshape(-1))
        answers = None
        if self.answers is not None:
            answers = collate([self.answers[row] for row in rows], np.arange(len(rows)), pad=-100).inputs
        return StoryBatch(
            sentences.inputs,
            sentences.lengths,
            places_of[: -len(rows)].view(context.inputs.shape),
            context.lengths,
            places_of[-len(rows) :],
            answers,
            torch.from_numpy(rows),
        )


def sentences_of(context: str) -> list[str]:
    """The sentences of a text; a text without an end of one is a single sentence."""
    return [sentence for sentence in _SENTENCE_ENDS.split(context.strip()) if sentence.strip()]


def one_line(answer: str) -> str:
    """An answer without line breaks, which would be read as its end."""
    return " ".join(answer.split())


def read_stories(asked: Asked, words: WordEncoder) -> Stories:
    """Questions as ids; `words` has an end, which closes each answer."""
    assert words.end_id is not None
    places: dict[str, int] = {}
    sentences: list[Ids] = []

    def place(sentence: str, name: str) -> int:
        if sentence not in places:
            ids = words.encode(sentence)
            if not len(ids):
                raise ValueError(f"{name} is {sentence!r}, which holds no word; give at least one")
            places[sentence] = len(sentences)
            sentences.append(ids)
        return places[sentence]

    contexts = []
    for row, context in enumerate(asked.contexts):
        found = [place(sentence, f"contexts[{row}]") for sentence in sentences_of(context)]
        contexts.append(np.array(found, dtype=np.int64))
    questions = [
        place(one_line(question), f"questions[{row}]") for row, question in enumerate(asked.questions)
    ]
    answers = None
    if asked.answers is not None:
        end = np.array([words.end_id], dtype=np.int64)
        answers = [np.concatenate([words.encode(one_line(right[0])), end]) for right in asked.answers]
    return Stories(sentences, contexts, np.array(questions, dtype=np.int64), np.arange(len(asked)), answers)

"""The network that reads a story by sentences, looks at it several times, and writes the answer to a question."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.data import WordEncoder, ragged_order
from storyline.layers import (
    GRU,
    LSTM,
    RNN,
    DecodingState,
    Encoded,
    EpisodicMemory,
    LinearHead,
    RecurrentDecoder,
    SentenceEncoder,
    TokenEmbedding,
)
from storyline.search import Beam, Limits, beam_search
from storyline.tasks.answer_stories import Stories, StoryBatch
from storyline.tasks.batches import Batches, on_device
from storyline.tasks.estimator import recurrent
from storyline.tasks.settings import AnswererSettings


class StoryNetwork(nn.Module):
    """Questions and stories to words of answers: a recurrent decoder on top of a dynamic memory network.

    Xiong et al. 2016 (DMN+): sentences to vectors; a bidirectional recurrent layer over the sentences of a story, which
    tells each what came before and after; attention hops led by the question. What they leave, and the question, are
    the thought that the decoder starts from and reads at every word (Cho et al. 2014).

    dropout  of word vectors, of sentence vectors, of what a hop takes in, and of what the head reads
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        sentences: SentenceEncoder,
        story: LSTM | GRU | RNN,
        memory: EpisodicMemory,
        decoder: RecurrentDecoder,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        words = len(embedding.weight)
        self.embedding, self.sentences, self.story = embedding, sentences, story
        self.memory, self.decoder = memory, decoder
        self.dropout = nn.Dropout(dropout)
        self.head = LinearHead(decoder.output_size, words, dropout=dropout)

    def embed(self, batch: StoryBatch) -> tuple[Tensor, Tensor]:
        """Vectors of the sentences of each story (batch, facts, size), and of the questions (batch, size)."""
        vectors = self.sentences(self.dropout(self.embedding(batch.sentences)), batch.words)
        return vectors[batch.context], vectors[batch.question]

    def read(self, told: Tensor, lengths: Tensor, question: Tensor) -> tuple[Encoded, Tensor]:
        """What the decoder starts from, and where the hops looked (batch, hops, facts), of what `embed` gave."""
        output, _ = self.story(self.dropout(told), lengths=lengths)
        forward, backward = output.chunk(2, dim=-1)
        facts = told + forward + backward
        memory, looked = self.memory(facts, lengths, question)
        thought = torch.cat([memory, question], dim=-1)
        return Encoded(facts, lengths, {"h": thought.unsqueeze(0)}), looked

    def encode(self, batch: StoryBatch) -> Encoded:
        """What the decoder starts from."""
        told, question = self.embed(batch)
        return self.read(told, batch.lengths, question)[0]

    def forward(self, batch: StoryBatch, begin: int) -> Tensor:
        """Scores of the words of the answers (batch, time, words), each beside the right words before it."""
        assert batch.answers is not None
        encoded = self.encode(batch)
        first = torch.full_like(batch.answers[:, :1], begin)
        before = torch.cat([first, batch.answers[:, :-1].clamp_min(0)], dim=1)
        decoded = self.decoder(self.embedding(before), encoded, (batch.answers >= 0).sum(1))
        scores: Tensor = self.head(decoded.output)
        return scores

    def step(self, tokens: Tensor, state: DecodingState) -> tuple[Tensor, Tensor | None, DecodingState]:
        """Scores of the next word of each hypothesis, as search asks for them."""
        decoded, state = self.decoder.step(self.embedding(tokens), state)
        return self.head(decoded.output), decoded.attention, state


def new_story_network(settings: AnswererSettings, words: WordEncoder) -> StoryNetwork:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator."""
    assert settings.dropout != "auto"
    size = settings.hidden_size
    embedding = TokenEmbedding(
        words.size,
        size,
        unknown_id=words.unknown_id,
        counts=torch.from_numpy(words.counts),
        word_dropout=settings.word_dropout,
    )
    # A sentence is short: it needs no long memory of its own.
    reader = recurrent(
        settings.model_copy(update={"remember": None, "num_layers": 1, "learn_initial_state": False}),
        size,
        bidirectional=False,
        dropout=0.0,
    )
    story = recurrent(settings, size, bidirectional=True, dropout=settings.dropout)
    decoder = RecurrentDecoder(
        size, 2 * size, size, core=settings.core, feed_thought=True, backend=settings.backend
    )
    return StoryNetwork(
        embedding,
        SentenceEncoder(reader),
        story,
        EpisodicMemory(size, settings.hops, dropout=settings.dropout),
        decoder,
        dropout=settings.dropout,
    )


class StoryProgram:
    """How a StoryNetwork learns to write answers by teacher forcing, and is validated on others.

    validation  questions with answers; None: there is nothing to validate on
    begin       the id that is read before the first word of an answer
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        module: StoryNetwork,
        training: Stories,
        validation: Stories | None,
        settings: AnswererSettings,
        *,
        begin: int,
    ) -> None:
        self.module, self._training, self._validation, self._begin = module, training, validation, begin
        self._batch_size, self._seed = settings.batch_size, settings.seed
        self._label_smoothing = settings.label_smoothing

    def batches(self, epoch: int) -> Batches[StoryBatch]:
        """The epoch's batches, stories of about as many sentences: a function of the seed and the epoch."""
        order = ragged_order(self._training.lengths, self._batch_size, seed=self._seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: StoryBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Mean cross entropy in nats a word of the answers, their end included, with label smoothing."""
        return self._cross_entropy(item, self._label_smoothing), None, len(item.rows)

    def validate(self) -> dict[str, float]:
        """Loss in nats a word, and the share of answers that are right word by word; {} where there is no such part."""
        if self._validation is None:
            return {}
        device = next(self.module.parameters()).device
        loss, words, right = 0.0, 0, 0
        for places in ragged_order(self._validation.lengths, 128, seed=0, epoch=0, shuffle=False):
            batch = on_device(self._validation.batch(places), device)
            assert batch.answers is not None
            scores = self.module(batch, self._begin)
            loss += float(
                functional.cross_entropy(scores.flatten(0, 1), batch.answers.flatten(), reduction="sum")
            )
            words += int((batch.answers >= 0).sum())
            # Each word is the likeliest after right ones: then a greedy search writes just them.
            right += int(((scores.argmax(-1) == batch.answers) | (batch.answers < 0)).all(1).sum())
        return {"loss": loss / words, "accuracy": right / len(self._validation)}

    def _cross_entropy(self, item: StoryBatch, smoothing: float) -> Tensor:
        assert item.answers is not None
        scores = self.module(item, self._begin).flatten(0, 1)
        return functional.cross_entropy(scores, item.answers.flatten(), label_smoothing=smoothing)


def write_answers(
    network: StoryNetwork,
    stories: Stories,
    words: WordEncoder,
    longest: int,
    beam: Beam,
    batch_size: int = 128,
) -> list[str]:
    """The best answer to each question that a search finds, of at most `longest` words."""
    assert words.end_id is not None
    answers = [""] * len(stories)
    if not len(stories):
        return answers
    device = next(network.parameters()).device
    for places in ragged_order(stories.lengths, batch_size, seed=0, epoch=0, shuffle=False):
        batch = on_device(stories.batch(places), device)
        encoded = network.encode(batch)
        begin = torch.full((len(places),), words.end_id, dtype=torch.int64, device=device)
        limits = Limits(begin, words.end_id, longest, minimum=1, forbidden=(words.pad_id, words.unknown_id))
        found = beam_search(network, network.decoder.begin(encoded), beam, limits)
        for place, best in zip(places.tolist(), found.best, strict=True):
            answers[place] = words.decode(best.tokens.tolist())
    return answers

"""A long text to a short one."""

from __future__ import annotations

from typing import Literal

from storyline.tasks.text_to_text import TextToText
from storyline.tasks.text_to_text_settings import AttentionName


class Summarizer(TextToText):
    """An encoder-decoder that learns from texts and their summaries, and may copy words of a text.

    Its settings are those of Translator. What differs is where they begin: one vocabulary of byte-pairs for both sides,
    a single layer, and the pointer-generator of See, Liu and Manning 2017 (`copying`). `attention="coverage"` with
    `coverage=1.0` is that paper's whole model, which does not repeat itself in long summaries; its decoder is slower,
    for it looks at the source token by token.

    source_limit  at most so many tokens of a text are read, its first, in training too; `cut_` counts the texts that
                  had more. None: all are read

    After fit and predict there is what Translator has, and cut_.
    """

    task = "summarise"

    def __init__(
        self,
        *,
        core: Literal["lstm", "gru", "rnn", "slstm", "transformer"] = "lstm",
        attention: AttentionName | None = "additive",
        input_feeding: bool = False,
        gnmt: bool = False,
        hidden_size: int = 256,
        num_layers: int = 1,
        bidirectional: bool = True,
        num_heads: int = 4,
        feedforward_size: int | Literal["auto"] = "auto",
        remember: int | Literal["auto"] | None = "auto",
        level: Literal["word", "char", "subword"] = "subword",
        lowercase: bool = False,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        shared_vocabulary: bool = True,
        embedding_size: int | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        tied: bool = True,
        copying: bool = True,
        coverage: float = 0.0,
        dropout: float = 0.3,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.1,
        scheduled_sampling: float = 0.0,
        source_limit: int | None = 400,
        longest: int | None = None,
        beam: int = 5,
        length_penalty: float = 1.0,
        coverage_penalty: float = 0.0,
        epochs: int = 15,
        max_steps: int | None = None,
        batch_tokens: int | Literal["auto"] = "auto",
        learning_rate: float = 0.002,
        weight_decay: float = 0.01,
        schedule: Literal["cosine", "one_cycle", "constant"] = "cosine",
        warmup: float | None = None,
        clip_norm: float | None = 1.0,
        average: float | None = None,
        average_last: int | None = None,
        validation_fraction: float = 0.05,
        validate_every: int | None = None,
        patience: int | None = None,
        restore_best: bool = True,
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = 30.0,
        seed: int = 0,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["32", "bf16"] = "32",
        backend: str = "auto",
    ) -> None:
        self._keep(locals())

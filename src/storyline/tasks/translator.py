"""A text in one language to a text in another."""

from __future__ import annotations

from typing import Literal

from storyline.tasks.text_to_text import TextToText
from storyline.tasks.text_to_text_settings import AttentionName


class Translator(TextToText):
    """An encoder-decoder, recurrent or Transformer, that learns from pairs of texts.

    core                 "lstm", "gru", "rnn" or "slstm": a recurrent encoder and decoder; "transformer": pre-norm
                         Transformers in the place of both, with the same settings
    attention            how a recurrent decoder looks at the source: "additive" (Bahdanau et al. 2015), "dot",
                         "general" or "local" (Luong et al. 2015), "multihead" (Vaswani et al. 2017), "coverage" (See
                         et al. 2017, eq. 11; slower, for it reads its own past); None: it sees the encoder's last
                         state alone. A Transformer has attention of its own and does not read this
    input_feeding        what attention found goes into the next step (Luong et al. 2015, section 3.3); slower, for
                         the target is read token by token. Else the first layer asks, and those above read the answer
    gnmt                 Wu et al. 2016: one bidirectional layer at the bottom, residual connections from the third on
    hidden_size          units of each layer and direction; of a Transformer, its model size
    num_layers           layers of the encoder, and of the decoder
    bidirectional        the recurrent encoder reads from both ends; with gnmt its lowest layer alone does
    num_heads            of a Transformer and of "multihead"
    feedforward_size     of a Transformer; "auto": four times hidden_size
    remember             as in Classifier; "auto": the 95th percentile of the source lengths; not for a Transformer
    level                "subword" (trained byte-pairs), "word" or "char". An unknown word in an output is replaced by
                         the source word with the most attention
    lowercase            texts are lowered first, the outputs are lower case then
    min_count            a word or character seen less often in training is <unk>
    max_vocabulary       at most so many tokens a language; None: all (for subword: 8,000)
    shared_vocabulary    one vocabulary, and one embedding, for both sides
    embedding_size       of a token's vector; "auto": that of the vectors that fit is given, else hidden_size
    freeze_vectors       keep the vectors that fit is given as they are (other tokens' are learned); else they are tuned
    tied                 the head's weight is the target embedding's
    copying              the output may copy tokens of the source (See et al. 2017); for one shared vocabulary
    coverage             weight of the loss that keeps a copying model from repeating itself (there, eq. 13); 0: none
    dropout              of the embedded tokens, between layers, and of what the head reads
    recurrent_dropout    of the recurrent states, the same units at all steps
    weight_dropout       of the recurrent weights (Merity et al. 2018)
    word_dropout         a: in training a token of count n becomes <unk> with probability a / (a + n)
    label_smoothing      share of the target that is spread over all tokens
    scheduled_sampling   probability that the decoder reads its own token in the place of the right one (Bengio et al.
                         2015)
    longest              pairs with a side of more tokens, its end counted, are left out of training; None: none are
    beam                 hypotheses kept a text when predicting; 1: always the likeliest token
    length_penalty, coverage_penalty  alpha and beta of Wu et al. 2016, eq. 14
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_tokens         source and target tokens of a step, padding included; "auto": as many as give an epoch 100
                         steps, between 250 and 4,000
    average_last         end with the mean of the weights at so many of the last validations; None: with the best
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, validate_every, patience, restore_best,
    checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the pairs held out to choose the best weights; 0: none. Not used where fit is given a
                         validation set
    seed                 of everything random
    backend              of the recurrent layers: "auto", "torch", "triton" or "reference"

    After fit: encoder_, dropped_ (training pairs left out: with an empty side, longer than `longest`),
    training_summary_, history_ (lines of metrics), network_ (the module); after predict: empty_, longer_ and unknown_
    (of the texts last read: how many were empty, how many longer than any in training, how many of how many tokens
    were unknown).
    """

    task = "translate"

    def __init__(
        self,
        *,
        core: Literal["lstm", "gru", "rnn", "slstm", "transformer"] = "lstm",
        attention: AttentionName | None = "additive",
        input_feeding: bool = False,
        gnmt: bool = False,
        hidden_size: int = 256,
        num_layers: int = 2,
        bidirectional: bool = True,
        num_heads: int = 4,
        feedforward_size: int | Literal["auto"] = "auto",
        remember: int | Literal["auto"] | None = "auto",
        level: Literal["word", "char", "subword"] = "subword",
        lowercase: bool = False,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        shared_vocabulary: bool = False,
        embedding_size: int | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        tied: bool = True,
        copying: bool = False,
        coverage: float = 0.0,
        dropout: float = 0.3,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.1,
        scheduled_sampling: float = 0.0,
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

"""What is said next in a dialogue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import TextEncoder, split_validation, text_encoder
from storyline.layers import MemoryProbe
from storyline.tasks.chatbot_network import (
    DialogueProgram,
    keep_phrases,
    new_chat_network,
    score_dialogues,
)
from storyline.tasks.chatbot_probe import probe_chatbot
from storyline.tasks.chatbot_settings import ChatbotSettings, resolve_chatbot
from storyline.tasks.conversation import Conversation
from storyline.tasks.conversation_state import ConversationState
from storyline.tasks.dialogues import Dialogues, Turns, check_dialogues, encode_dialogues, written
from storyline.tasks.estimator import (
    Listeners,
    SequenceEstimator,
    StrPath,
    measuring,
    reproducible,
    steps_to_remember,
    unharmed,
)
from storyline.tasks.next_token import NextToken
from storyline.tasks.probe import as_trained
from storyline.tasks.settings import check_settings
from storyline.training.identity import digest

# Size of the vocabulary of byte-pairs, if none is given.
_SUBWORDS = 6_000
# Units that begin slower than this keep what was said longer, but write so little at a step that language is learned
# later; where the data needs it, they become slower in training.
_REMEMBERED = 16


class Chatbot(SequenceEstimator[NextToken]):
    """A language model of dialogues that answers turn by turn, and keeps its state between turns.

    A dialogue is a list of turns, one text for each time that the speaker changes. It is read as byte-pairs, with
    <end> before the first turn and after every turn, and once more after the last: any script can be read, and no
    token is unknown. Blanks around a turn do not count. Each dialogue starts from the initial state.

    core                 "lstm", "gru", "rnn" or "transformer"
    hidden_size          units of each layer
    num_layers           layers of the stack
    num_heads            of a Transformer's attention
    window               how many tokens each layer of a Transformer sees, and keeps between turns; "auto": `longest`;
                         None: all, and a conversation's state grows
    remember             as in Classifier; "auto": the length of a dialogue, at most 16 tokens
    lowercase            the text is lowered first
    min_count            a pair of byte-pairs is merged where it comes as often, or more
    max_vocabulary       at most so many tokens; None: 6,000
    embedding_size       of a token's vector, which is also its row in the head; "auto": hidden_size
    softmax              "full", or "sampled": training steps score a sample of the tokens (layers.SampledHead). "auto":
                         sampled above 3,000 tokens
    candidates           tokens in the sample of a step, on average
    dropout              of the embedding (the same channels at all steps of a dialogue), between layers, and of the
                         state that the head reads
    learn_initial_state  make the state before a dialogue a parameter
    longest              a dialogue of more tokens is learned in parts of so many, each from the initial state on
    phrases              tokens of the longest phrase that is looked up in the training dialogues, at most 64: what
                         followed it is mixed into what the network foretells, as far as that helps on the held-out
                         dialogues, those that come again among them (layers.PhraseMemory). The model then holds the
                         training dialogues, 8 bytes a token. None: it holds none of them
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_tokens         tokens of a batch, about
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, average_last, validate_every, patience,
    restore_best, checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the dialogues that are held out to choose the best weights; 0: none are
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: encoder_, training_summary_ (in it `parts`: how many dialogues were learned in parts, and `single`: how
    many have but one turn, which teaches no reply), history_ (lines of metrics, of the network alone), network_ (the
    module).
    """

    task = "chat"
    settings_type = ChatbotSettings
    resolved_: ChatbotSettings
    encoder_: TextEncoder

    def __init__(
        self,
        *,
        core: Literal["lstm", "gru", "rnn", "transformer"] = "lstm",
        hidden_size: int = 384,
        num_layers: int = 1,
        num_heads: int = 4,
        window: int | Literal["auto"] | None = "auto",
        remember: int | Literal["auto"] | None = "auto",
        lowercase: bool = False,
        min_count: int = 2,
        max_vocabulary: int | None = None,
        embedding_size: int | Literal["auto"] = "auto",
        softmax: Literal["full", "sampled", "auto"] = "auto",
        candidates: int = 1200,
        dropout: float = 0.3,
        learn_initial_state: bool = False,
        longest: int = 512,
        phrases: int | None = None,
        epochs: int = 10,
        max_steps: int | None = None,
        batch_tokens: int = 2000,
        learning_rate: float = 0.003,
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

    @unharmed
    def fit(
        self,
        X: Turns,
        y: None = None,
        *,
        validation: Turns | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn dialogues X, each a list of turns; y is not read.

        validation  dialogues to choose the best weights by; None: `validation_fraction` of X
        folder, resume, events: as in Classifier.fit

        Raises ValueError for a setting that does not fit, for a turn that is empty or no text, where no dialogue has
        two turns, and for phrases without a held-out dialogue.
        """
        settings = check_settings(ChatbotSettings, self.get_params(deep=False))
        dialogues = check_dialogues(X, "X")
        given = None if validation is None else check_dialogues(validation, "validation")
        single = sum(len(dialogue) == 1 for dialogue in dialogues)
        if single == len(dialogues):
            raise ValueError(
                f"none of the {single} dialogues has a second turn, and replies are learned from those; give dialogues "
                "of two turns or more"
            )
        training, held_out = _hold_out(dialogues, settings, given)
        if settings.phrases is not None and not held_out:
            raise ValueError(
                f"phrases={settings.phrases} needs held-out dialogues, which say how far phrases are to be trusted, "
                "and validation_fraction is 0; raise it, give validation, or set phrases=None"
            )
        self.encoder_ = text_encoder(
            "subword",
            lowercase=settings.lowercase,
            min_count=settings.min_count,
            max_size=settings.max_vocabulary or _SUBWORDS,
            end=True,
        ).fit(written(turn) for dialogue in training for turn in dialogue)
        ids = encode_dialogues(self.encoder_, training)
        checked = encode_dialogues(self.encoder_, held_out)
        self.unknown_ = (0, sum(map(len, checked)))
        # What is read of a dialogue is all but its last token.
        typical = min(_REMEMBERED, float(np.percentile([len(row) - 1 for row in ids], 95)))
        self.resolved_ = resolve_chatbot(
            settings,
            remember=steps_to_remember(settings, typical),
            vocabulary=self.encoder_.size,
            validated=bool(checked),
        )
        rows = Dialogues.of(ids, settings.longest)
        with reproducible(settings.seed):
            program = DialogueProgram(self._new_network(), rows, checked or None, self.resolved_)
        self._train(
            program,
            {"X": dialogues, "validation": given},
            folder=folder,
            resume=resume,
            events=events,
            dialogues=len(training),
            tokens=sum(map(len, rows.targets)),
            parts=rows.cut,
            trained_steps=max(map(len, rows.inputs)),
            single=single,
            vocabulary=self.encoder_.size,
        )
        with measuring(self.threads):
            keep_phrases(self.network_, ids, checked)
        return self

    def conversation(self, *, seed: int | None = None) -> Conversation:
        """A new conversation; `reply` then says something to each turn.

        seed  of what is drawn: the same seed and turns give the same replies; None: others each time
        """
        check_is_fitted(self)
        return self._conversation(None, seed)

    def resume_conversation(self, path: StrPath) -> Conversation:
        """The conversation that was saved to a file: its next reply is what it would have been, bit for bit.

        Raises ArtifactError for a file that is missing or damaged, and for that of a conversation with another model.
        """
        check_is_fitted(self)
        return self._conversation(ConversationState.load(path, self._fingerprint()), None)

    def evaluate(self, X: Turns, y: None = None) -> dict[str, Any]:
        """How well dialogues are foretold, each from the initial state on; every token but the opening <end> is scored.

        nats, bits          mean cross entropy a token; the <end> of each turn and that of the dialogue are tokens
        perplexity          exp(nats)
        nats_per_character  the sum over the characters of the turns; comparable between vocabularies
        n                   tokens scored
        dialogues, turns    how many there are
        """
        check_is_fitted(self)
        dialogues = check_dialogues(X, "X")
        costs = np.concatenate(self.surprisal(dialogues))
        total, count = float(costs.sum()), len(costs)
        nats = total / count
        return {
            "nats": nats,
            "bits": nats / math.log(2),
            "perplexity": math.exp(min(nats, 700.0)),
            "nats_per_character": total / sum(len(turn.strip()) for turns in dialogues for turn in turns),
            "n": count,
            "dialogues": len(dialogues),
            "turns": sum(map(len, dialogues)),
        }

    def score(self, X: Turns, y: None = None) -> float:
        """Minus the nats a token of `evaluate`: larger is better."""
        return -float(self.evaluate(X)["nats"])

    def surprisal(self, X: Turns, *, alone: bool = False) -> list[np.ndarray]:
        """What each token of each dialogue costs, (tokens,) each: -log p(token | the dialogue before it) in nats.

        Every token but the opening <end>: those of the turns, an <end> after each, and that of the dialogue.

        alone  by the network alone, without the phrases that the model may keep
        """
        check_is_fitted(self)
        ids = encode_dialogues(self.encoder_, check_dialogues(X, "X"))
        self.unknown_ = (0, sum(map(len, ids)))
        with measuring(self.threads):
            return score_dialogues(self.network_, ids, alone=alone)

    def memory_probe(self, X: Turns, y: None = None, *, sample: int = 128, seed: int = 0) -> MemoryProbe:
        """The model and the beginnings of `sample` dialogues, for the instruments of memory; what follows is known.

        It is the network alone, without the phrases that the model may keep.
        """
        check_is_fitted(self)
        ids = encode_dialogues(self.encoder_, check_dialogues(X, "X"))
        self.unknown_ = (0, sum(map(len, ids)))
        probe = probe_chatbot(self.network_, self._built(), self.encoder_, ids, sample, seed)
        summary = self.training_summary_
        # A dialogue that was learned in parts began anew with each: gradients, and the state, went no further.
        part = self.resolved_.longest if summary["parts"] else math.inf
        return as_trained(
            probe, self.resolved_, summary, trained_steps=summary.get("trained_steps"), chunk=part, reset_every=part,
            settings={"chunk": "longest", "reset_at_most_every": "longest"},
        )  # fmt: skip

    def _conversation(self, state: ConversationState | None, seed: int | None) -> Conversation:
        return Conversation(
            self.network_, self.encoder_, state, model=self._fingerprint(), seed=seed, threads=self.threads
        )

    def _fingerprint(self) -> str:
        """Of all on which a state depends: it means nothing to other weights, or another vocabulary."""
        return digest([self.encoder_.to_document(), dict(self.network_.state_dict())])

    def _new_network(self) -> NextToken:
        return new_chat_network(self.resolved_, self.encoder_)

    def _documents(self) -> dict[str, Any]:
        return {"encoder.json": self.encoder_.to_document()}

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return ("encoder.json",)

    def _restore(self, documents: dict[str, Any]) -> None:
        self.encoder_ = TextEncoder.from_document(documents["encoder.json"])


def _hold_out(
    dialogues: list[list[str]], settings: ChatbotSettings, given: list[list[str]] | None
) -> tuple[list[list[str]], list[list[str]]]:
    """(training, validation)."""
    if given is not None or settings.validation_fraction == 0:
        return dialogues, given or []
    if len(dialogues) < 2:
        raise ValueError(
            "1 dialogue was given, which cannot be held out and learned; give more, or set validation_fraction=0"
        )
    kept, out = split_validation(len(dialogues), settings.validation_fraction, settings.seed)
    return [dialogues[row] for row in kept], [dialogues[row] for row in out]

"""BytePairEncoder: byte pairs merged by frequency, so that any text has an encoding and comes back whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from storyline.data.encoders.encoder import Ids, TextEncoder, unfitted
from storyline.data.source import DataError
from storyline.data.vocabulary import END, PAD, UNKNOWN

_BYTES = 256
_OPTIONS = ("lowercase", "min_count", "max_size", "end", "leading_blank")


class BytePairEncoder(TextEncoder):
    """Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019): `decode(encode(text)) == text`.

    max_size: the most ids, specials and the 256 bytes included.
    min_count: a pair that comes less often is not merged.
    lowercase: fold case before all else (and then the round trip gives the folded text).
    end: id 2 is `<end>`, decoded as nothing; encode never produces it, it is for a model to put between texts.
    leading_blank: a text that begins with no blank gets one, and decode takes one away: a word then has the same units
        at the beginning of a text as inside it, so that it can be copied from one to the other.

    No text produces `<pad>`, `<unk>` or `<end>`, also not their names: the ids of the tokenizer start after them.
    """

    level = "subword"

    def __init__(
        self,
        *,
        lowercase: bool = False,
        min_count: int = 2,
        max_size: int = 8000,
        end: bool = False,
        leading_blank: bool = False,
    ) -> None:
        super().__init__(end=end)
        self.lowercase, self.min_count, self.max_size = lowercase, min_count, max_size
        self.leading_blank = leading_blank
        self._specials = (PAD, UNKNOWN, END) if end else (PAD, UNKNOWN)
        self._tokenizer: Tokenizer | None = None
        self._counts = np.zeros(0, dtype=np.int64)

    @property
    def size(self) -> int:
        return len(self._specials) + int(self._fitted().get_vocab_size())

    @property
    def counts(self) -> Ids:
        self._fitted()
        return self._counts

    def _fitted(self) -> Tokenizer:
        if self._tokenizer is None:
            raise unfitted()
        return self._tokenizer

    def fit(self, texts: Iterable[str]) -> Self:
        least = len(self._specials) + _BYTES
        if self.max_size < least:
            raise DataError(
                f"max_size is {self.max_size}; it must be at least {least}, the bytes and the specials"
            )
        texts = [self._checked(text) for text in texts]
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=self.leading_blank)
        tokenizer.decoder = ByteLevelDecoder()
        trainer = BpeTrainer(
            vocab_size=self.max_size - len(self._specials),
            min_frequency=self.min_count,
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer, length=len(texts))
        self._tokenizer = tokenizer
        self._counts = np.zeros(self.size, dtype=np.int64)
        for ids in self.encode_all(texts):
            self._counts += np.bincount(ids, minlength=self.size)
        return self

    def _checked(self, text: str) -> str:
        text = text.lower() if self.lowercase else text
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"character {error.start + 1} of the text is half a surrogate pair, which is no character; remove it"
            ) from None
        return text

    def encode(self, text: str) -> Ids:
        ids = self._fitted().encode(self._checked(text)).ids
        return np.array(ids, dtype=np.int64) + len(self._specials)

    def encode_all(self, texts: Iterable[str]) -> list[Ids]:
        encodings = self._fitted().encode_batch_fast([self._checked(text) for text in texts])
        return [np.array(encoding.ids, dtype=np.int64) + len(self._specials) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are no whole character, and `<unk>`, give U+FFFD."""
        tokenizer = self._fitted()
        parts: list[str] = []
        run: list[int] = []
        for id_ in [*map(int, ids), self.unknown_id]:
            if id_ >= len(self._specials):
                run.append(id_ - len(self._specials))
                continue
            if run and id_ != self.pad_id:
                parts.append(tokenizer.decode(run, skip_special_tokens=False))
                run = []
            if id_ == self.unknown_id:
                parts.append("\N{REPLACEMENT CHARACTER}")
        text = "".join(parts[:-1])
        return text.removeprefix(" ") if self.leading_blank else text

    def names(self) -> list[str]:
        tokenizer = self._fitted()
        ids = range(tokenizer.get_vocab_size())
        return [*self._specials, *(tokenizer.decode([id_], skip_special_tokens=False) for id_ in ids)]

    def to_document(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in _OPTIONS}
        tokenizer = json.loads(self._fitted().to_str())
        return {"level": self.level, **options, "counts": self.counts.tolist(), "tokenizer": tokenizer}

    @classmethod
    def _restore(cls, document: Mapping[str, Any]) -> BytePairEncoder:
        encoder = cls(**{name: document[name] for name in _OPTIONS if name in document})
        encoder._tokenizer = Tokenizer.from_str(json.dumps(document["tokenizer"]))
        encoder._counts = np.array(document["counts"], dtype=np.int64)
        return encoder

"""PairEncoder: the encoders of source and target, one for both or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from storyline.data.encoders.encoder import Ids, TextEncoder, text_encoder
from storyline.data.source import DataError


@dataclass(frozen=True)
class PairEncoder:
    """Sources and targets as ids and back; `source` and `target` are the same object where they share a vocabulary."""

    source: TextEncoder
    target: TextEncoder

    @classmethod
    def learn(
        cls,
        sources: Sequence[str],
        targets: Sequence[str],
        level: str = "subword",
        *,
        shared: bool = False,
        **options: Any,
    ) -> Self:
        """Encoders of the training part's texts.

        shared  one vocabulary, learned from both sides: for languages that share words and names, for copying, and
                for one embedding of source and target (Sennrich, Haddow and Birch 2016, section 3.2: "joint BPE")
        options as the level's class takes them; for separate vocabularies `max_size` is that of each
        """
        options = {**options, "end": True} | ({"line_ends": False} if level == "word" else {})
        if shared:
            both = text_encoder(level, **options).fit([*sources, *targets])
            return cls(both, both)
        return cls(text_encoder(level, **options).fit(sources), text_encoder(level, **options).fit(targets))

    @property
    def shared(self) -> bool:
        return self.source is self.target

    @property
    def end_id(self) -> int:
        """What ends a source and a target, and what a decoder reads first."""
        if self.target.end_id is None or self.source.end_id is None:
            raise DataError("an encoder of pairs needs the token <end>; make both encoders with end=True")
        return self.target.end_id

    def encode_sources(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text and `<end>` behind them, so that an encoder sees where it stops (at least one id)."""
        end = np.array([self.source.end_id], dtype=np.int64)
        return [np.concatenate([ids, end]) for ids in self.source.encode_all(texts)]

    def encode_targets(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text; `TokenPairs` puts the begin and the end around them."""
        return self.target.encode_all(texts)

    def to_document(self) -> dict[str, Any]:
        """A JSON-able dictionary, from which `from_document` builds an equal encoder."""
        target = None if self.shared else self.target.to_document()
        return {"source": self.source.to_document(), "target": target}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        source = TextEncoder.from_document(document["source"])
        target = document["target"]
        return cls(source, source if target is None else TextEncoder.from_document(target))

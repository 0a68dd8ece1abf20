"""From what users give to sequences of ids or numbers, and from those to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from storyline.data import Batch, Scaler, TextEncoder, collate
from storyline.tasks.inputs import Kind, check_array, check_ragged, check_texts, lengths_of


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences ready for batches, with or without their targets; `rows` says which of them are meant.

    values    ids (time,) each, or series (time, channels), as one array or a list
    steps     (len(values),) length of each of `values`
    rows      (n,) which of `values`; the others are not copied away, because an array may be large
    targets   (len(values),) class of each, or None
    unknowns  (len(values),) how many tokens of each are <unk>; None for series
    pad       the id of padding
    scaler    applied to each batch
    """

    values: list[np.ndarray] | np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    targets: np.ndarray | None = None
    unknowns: np.ndarray | None = None
    pad: int = 0
    scaler: Scaler | None = None

    @classmethod
    def of(cls, values: list[np.ndarray] | np.ndarray, **fields: Any) -> Sequences:
        """All of `values`."""
        return cls(values, lengths_of(values), np.arange(len(values)), **fields)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Steps (n,)."""
        lengths: np.ndarray = self.steps[self.rows]
        return lengths

    @property
    def classes(self) -> np.ndarray:
        """Targets (n,)."""
        assert self.targets is not None
        classes: np.ndarray = self.targets[self.rows]
        return classes

    @property
    def unknown(self) -> tuple[int, int]:
        """How many tokens are unknown, of how many; (0, 0) for series."""
        if self.unknowns is None:
            return 0, 0
        return int(self.unknowns[self.rows].sum()), int(self.lengths.sum())

    def batch(self, places: np.ndarray) -> Batch:
        """Those at the given places among `rows`, padded at their end; `Batch.rows` are the user's rows."""
        rows = self.rows[places]
        if self.scaler is None:
            return collate(cast(Sequence[np.ndarray], self.values), rows, self.targets, pad=self.pad)
        scaled = self.scaler.transform(self.values[row] for row in rows)
        targets = None if self.targets is None else self.targets[rows]
        batch = collate(scaled, np.arange(len(rows)), targets, pad=self.pad)
        return replace(batch, rows=torch.from_numpy(rows))

    def take(self, places: np.ndarray) -> Sequences:
        """Only those at the given places."""
        return replace(self, rows=self.rows[places])

    def tails(self, steps: int | None) -> Sequences:
        """Each cut to its last `steps` steps; None: whole."""
        if steps is None:
            return self
        if isinstance(self.values, np.ndarray):
            values: list[np.ndarray] | np.ndarray = self.values[:, -steps:]
        else:
            values = [sequence[-steps:] for sequence in self.values]
        return replace(self, values=values, steps=np.minimum(self.steps, steps))


class TextReader:
    """Texts to ids, by an encoder whose vocabulary comes from the training part."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def read(self, X: Any, kind: Kind) -> Sequences:
        """X encoded; ValueError where it holds no texts, or an empty one."""
        if len(X) and kind != "text":
            raise ValueError("the model was fitted on texts, and X holds numbers; give a list of texts")
        texts = check_texts(X)
        values = self.encoder.encode_all(texts)
        for index, ids in enumerate(values):
            if not len(ids):
                raise ValueError(f"X[{index}] is {texts[index]!r}, which holds no token; leave it out")
        unknowns = np.array([self.encoder.unknown(ids) for ids in values], dtype=np.int64)
        return Sequences.of(values, unknowns=unknowns, pad=self.encoder.pad_id)

    def to_document(self) -> dict[str, Any]:
        """JSON-able."""
        return {"kind": "text", "encoder": self.encoder.to_document()}


class SeriesReader:
    """Series to scaled series; mean and scale of each channel come from the training part."""

    def __init__(self, scaler: Scaler, channels: int) -> None:
        self.scaler, self.channels = scaler, channels

    @classmethod
    def fitted(cls, values: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray) -> SeriesReader:
        """With mean and scale of the given rows."""
        return cls(Scaler().fit([values[row] for row in rows]), values[0].shape[1])

    def read(self, X: Any, kind: Kind) -> Sequences:
        """X checked; ValueError for texts, NaN, infinity, or another number of channels."""
        if kind == "text":
            raise ValueError("the model was fitted on series of numbers, and X holds texts; give arrays")
        if kind == "table" and self.channels > 1 and np.ndim(X) == 2:
            raise ValueError(
                f"X has shape {np.shape(X)}, a row a series of one channel, and the model was fitted on "
                f"{self.channels} channels; give (n, time, channels), of a single series X[None]"
            )
        values = read_series(X, kind, self.channels)
        return Sequences.of(values, scaler=self.scaler)

    def to_document(self) -> dict[str, Any]:
        """JSON-able."""
        return {"kind": "series", "channels": self.channels, "scaler": self.scaler.to_document()}


Reader = TextReader | SeriesReader


def read_series(X: Any, kind: Kind, channels: int | None) -> list[np.ndarray] | np.ndarray:
    """X as one array (n, time, channels) of floats, or as a list of them where lengths differ."""
    if kind == "ragged":
        return check_ragged(X, channels)
    array = np.asarray(X)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"X has {array.ndim} dimensions; give (n, time, channels), or (n, time) for series of one channel"
        )
    return check_array(array[:, :, None] if array.ndim == 2 else array, channels)


def restored_reader(document: dict[str, Any]) -> Reader:
    """The reader that `to_document` described."""
    if document["kind"] == "text":
        return TextReader(TextEncoder.from_document(document["encoder"]))
    return SeriesReader(Scaler.from_document(document["scaler"]), document["channels"])

"""How an estimator of whole sequences reads texts or series with their labels, and what it keeps of them."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from storyline.artifact import Artifact
from storyline.tasks.classifier_vocabulary import learn_vocabulary
from storyline.tasks.estimator import Network, SequenceEstimator
from storyline.tasks.inputs import Kind, check_texts, kind_of
from storyline.tasks.labels import (
    check_labels,
    check_same_number,
    encode_labels,
    labels_from_document,
    labels_to_document,
)
from storyline.tasks.readers import Reader, Sequences, SeriesReader, TextReader, read_series, restored_reader
from storyline.tasks.settings import ClassifierSettings
from storyline.tasks.starting_vectors import StartingVectors
from storyline.tasks.word_vectors import WordVectors

# Of a table; what is neither becomes the first.
_PRECISIONS = [np.float64, np.float32]


class SequenceReading(SequenceEstimator[Network], ABC):
    """An estimator whose X is texts or series, and whose y is a label for each.

    kind_           which of the kinds of `inputs.kind_of` the X of fit was
    reader_         from such an X to ids, or to scaled series
    classes_        the known labels, sorted
    n_features_in_  channels; columns of an array (n, time); not there for texts
    """

    kind_: Kind
    reader_: Reader
    classes_: np.ndarray
    n_features_in_: int

    def _learn_reader(
        self,
        raw: Any,
        rows: np.ndarray,
        kind: Kind,
        unlabelled: Sequence[str] | None,
        vectors: WordVectors | None,
        settings: ClassifierSettings,
        *,
        warm: bool,
    ) -> StartingVectors | None:
        """Set `reader_` from the training rows, but in a warm start; first word vectors where texts teach them."""
        for name, what, given in (
            ("unlabelled", "unlabelled texts", unlabelled),
            ("vectors", "word vectors", vectors),
        ):
            if given is not None and (warm or kind != "text"):
                why = "to a warm start, which keeps its words" if warm else "and X holds series"
                raise ValueError(f"{what} were given {why}; leave {name} out")
        if warm:
            return None
        if kind != "text":
            self.reader_ = SeriesReader.fitted(raw, rows)
            return None
        encoder, start = learn_vocabulary([raw[row] for row in rows], unlabelled, vectors, settings)
        self.reader_ = TextReader(encoder)
        return start

    def _checked(self, X: Any, y: Any, kind: Kind) -> tuple[Any, np.ndarray]:
        """X and y of fit; scikit-learn's own checks where X is a table."""
        if kind == "table":
            X, labels = validate_data(self, X, y, dtype=_PRECISIONS, ensure_min_features=1)
        else:
            if y is None:
                raise ValueError("This estimator requires y to be passed, but the target y is None")
            labels = column_or_1d(np.asarray(y), warn=True)
        check_labels(labels)
        check_classification_targets(labels)
        raw = check_texts(X) if kind == "text" else read_series(X, kind, None)
        check_same_number(raw, labels)
        if kind in ("array", "ragged"):
            self.n_features_in_ = int(np.shape(raw[0])[1])
        self.kind_ = kind
        return raw, labels

    def _read(self, X: Any) -> Sequences:
        if isinstance(X, list | tuple) and not len(X):
            return Sequences.of([])
        kind = kind_of(X)
        if kind == "table" == self.kind_:
            X = validate_data(self, X, reset=False, dtype=_PRECISIONS, ensure_min_samples=0)
        return self.reader_.read(X, kind)

    def _read_labelled(self, X: Any, y: Any, name: str = "y") -> Sequences:
        sequences = self._read(X)
        labels = column_or_1d(np.asarray(y))
        check_same_number(sequences.values, labels)
        if not len(labels):
            raise ValueError("X is empty; give at least one labelled sequence")
        return replace(sequences, targets=encode_labels(labels, self.classes_, name))

    def _documents(self) -> dict[str, Any]:
        return {
            "labels.json": labels_to_document(self.classes_),
            "reader.json": {"input": self.kind_, "features": getattr(self, "n_features_in_", None)}
            | self.reader_.to_document(),
        }

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return "labels.json", "reader.json"

    def _restore(self, documents: dict[str, Any]) -> None:
        self.classes_ = labels_from_document(documents["labels.json"])
        reader = documents["reader.json"]
        self.reader_, self.kind_ = restored_reader(reader), reader["input"]
        self.unknown_ = (0, 0)
        if reader["features"] is not None:
            self.n_features_in_ = reader["features"]

    def _forget_features(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags

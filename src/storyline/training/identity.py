"""What a run is of: settings and data that decide its result, compared when it is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Identity:
    """What decides a run's result beside its TrainingSettings; a resumption with another is refused by name.

    settings  of the model: JSON-able values by name
    data      what is learned and validated, by the names that the user gave it under: None, numbers, strings,
              arrays, tensors, and sequences and mappings of them. Only its digest is kept
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each part of the data."""
        return {name: digest(value) for name, value in self.data.items()}


def digest(value: Any) -> str:
    """SHA-256 of the value's content; different nestings, kinds, shapes and types of numbers have different ones."""
    found = hashlib.sha256()
    _take(found, value)
    return found.hexdigest()


def _take(found: Any, value: Any) -> None:
    # Each value says its kind and how long it is, so that no two of them run together to a third.
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().numpy()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS":
        found.update(f"array {value.dtype.str} {value.shape} ".encode())
        found.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    elif isinstance(value, np.ndarray):
        _take(found, value.tolist())
    elif isinstance(value, str | bytes):
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        found.update(f"{type(value).__name__} {len(data)} ".encode())
        found.update(data)
    elif isinstance(value, Mapping):
        found.update(f"mapping {len(value)} ".encode())
        for key in sorted(value):
            _take(found, key)
            _take(found, value[key])
    elif isinstance(value, Sequence):
        found.update(f"sequence {len(value)} ".encode())
        for part in value:
            _take(found, part)
    elif value is None or isinstance(value, bool | int | float):
        found.update(f"{type(value).__name__} {value!r} ".encode())
    else:
        raise TypeError(f"no digest is known of a {type(value).__name__}")

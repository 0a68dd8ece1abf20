"""Whether an implementation did the work: its answer beside the reference in float64."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.problem import Answer

# Of the largest magnitude in the tensor. Float32 carries 6e-8, and a weight's gradient sums up to 16,000 terms, in
# another order in each library: the worst seen is 4e-6. A wrong equation or an unmasked row is off by over 1e-2.
TOLERANCE = 2e-5


class MismatchError(Exception):
    """An answer is not the reference's; the message says where and by how much."""


# Who runs over the padding cannot have it; a step's users read the output.
MAY_BE_MISSING = ("c_n",)


def check(found: Answer, reference: Answer) -> list[str]:
    """Compare; returns the names that the answer does not give. Raises MismatchError, also where it owes one."""
    missing = [name for name in reference if name not in found]
    owed = [name for name in missing if name not in MAY_BE_MISSING]
    if owed:
        raise MismatchError(f"no {', '.join(owed)}")
    for name in reference:
        if name in found:
            _compare(name, found[name], reference[name])
    return missing


def _compare(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    if found.shape != wanted.shape:
        raise MismatchError(f"{name} has the shape {found.shape}, the reference {wanted.shape}")
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if not off <= TOLERANCE:  # so that NaN fails too
        raise MismatchError(
            f"{name} is off by {off:.1e} of its largest magnitude, {TOLERANCE:.0e} is allowed"
        )

"""The rule that a random case must keep.

The parity rule of the house: the kernels' greatest error is at most 4 times the greatest error of the reference scan
in the same dtype, + 1e-7. Errors are deviations from the reference in float64, in units of the greatest exact value of
the result where that is above 1. Of one run, the reference's error is a matter of luck: on three numbers the plain loop
may well be exact. So its error is taken from many runs. First it is its greatest over the cases of a group, which share
a layer. Where the kernels exceed that, it is the greatest over 32 neighbours of the case itself: the same case with all
its numbers moved by up to 1e-6 of themselves, which is as hard a case, rounded another way. A case fails that exceeds
4 times both.

In float64 nothing exacter is at hand. Rounding errors scale with the unit in the last place, so the reference's own is
taken to be 2^-29 of what it is in float32; the deviation is the sum of two errors, and may be 5 times as great.

Where a derivative jumps (relu at 0), rounding decides on which side a number lies. An error in float32 that the
reference in float64 makes as well, when it goes to a neighbour, is in doubt: it is counted, and fails nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.kernels.drawing import Group
from benchmarks.kernels.running import Results, on_kernels, on_reference, own_part

FACTOR, FLOOR = 4, 1e-7
NEIGHBOURS, MOVED_BY = 32, 1e-6
DOUBLE_OVER_SINGLE = 2.0**-29
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Verdict:
    """The greatest error of one result over a group of cases, as a share of what is allowed; above 1 fails.

    in_doubt: the case has a derivative that jumps, and what exceeds the rule is the height of the jump.
    """

    result: str
    dtype: torch.dtype
    case: int
    error: float
    allowed: float
    in_doubt: bool = False

    @property
    def share(self) -> float:
        return self.error / self.allowed if math.isfinite(self.error) else math.inf


def judge(group: Group) -> list[Verdict]:
    """A verdict for each result in each dtype: the case that exceeds what is allowed most."""
    exact = on_reference(group, torch.float64)
    plain = on_reference(group, torch.float32)
    cases = range(len(group.cases))
    wanted = [own_part(group, case, exact) for case in cases]
    of_plain = [errors(own_part(group, case, plain), wanted[case]) for case in cases]
    greatest = {name: max(each[name] for each in of_plain) for name in exact}
    verdicts = []
    for dtype in DTYPES:
        found = [errors(on_kernels(group, case, dtype), wanted[case]) for case in cases]
        beyond: dict[int, Neighbourhood] = {}
        for name in exact:
            limit = allowed(greatest[name], dtype)
            candidates = [Verdict(name, dtype, case, found[case][name], limit) for case in cases]
            for index, verdict in enumerate(candidates):
                if verdict.share > 1:
                    if index not in beyond:
                        beyond[index] = Neighbourhood.of(group, index, wanted[index])
                    candidates[index] = beyond[index].judge(verdict)
            verdicts.append(max(candidates, key=lambda verdict: (not verdict.in_doubt, verdict.share)))
    return verdicts


def allowed(error_of_reference: float, dtype: torch.dtype) -> float:
    """By the rule above; error_of_reference: in float32."""
    if dtype == torch.float32:
        return FACTOR * error_of_reference + FLOOR
    return ((FACTOR + 1) * error_of_reference + FLOOR) * DOUBLE_OVER_SINGLE


def errors(got: Results, exact: Results) -> dict[str, float]:
    """The greatest deviation of each result, in units of its greatest exact value where that is above 1."""
    if got.keys() != exact.keys():
        raise AssertionError(f"{got.keys()} came, {exact.keys()} were wanted")
    return {name: error(got[name], exact[name]) for name in exact}


def error(got: Tensor, exact: Tensor) -> float:
    """NaN where a number is NaN."""
    return float((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1))


@dataclass(frozen=True)
class Neighbourhood:
    """The reference on 32 neighbours of a case: plain, its greatest errors in float32; distance, that of the exact
    results from those of the case.
    """

    plain: dict[str, float]
    distance: dict[str, float]

    @classmethod
    def of(cls, group: Group, index: int, exact: Results) -> Neighbourhood:
        """Around case `index`, whose exact results are given."""
        generator = torch.Generator().manual_seed(index)
        leaves = {}
        for name, value in group.leaves.items():
            many = value[index].expand(NEIGHBOURS, *value.shape[1:])
            moves = 2 * torch.rand(many.shape, generator=generator, dtype=many.dtype) - 1
            leaves[name] = (many * (1 + MOVED_BY * moves)).float().double()
        copies = replace(
            group,
            cases=[group.cases[index]] * NEIGHBOURS,
            leaves=leaves,
            weigh=[each[index].expand(NEIGHBOURS, *each.shape[1:]) for each in group.weigh],
            lengths=group.lengths[index].expand(NEIGHBOURS, -1),
            resets=group.resets[index].expand(NEIGHBOURS, -1, -1),
        )
        near, plain = on_reference(copies, torch.float64), on_reference(copies, torch.float32)
        of_plain, distances = [], []
        for copy in range(NEIGHBOURS):
            one = own_part(copies, copy, near)
            of_plain.append(errors(own_part(copies, copy, plain), one))
            distances.append(errors(one, exact))
        return cls(
            {name: max(each[name] for each in of_plain) for name in exact},
            {name: max(each[name] for each in distances) for name in exact},
        )

    def judge(self, verdict: Verdict) -> Verdict:
        """By the errors of these neighbours, where they are greater than those of the group."""
        name, dtype = verdict.result, verdict.dtype
        limit = max(verdict.allowed, allowed(self.plain[name], dtype))
        jumps = name.startswith("gradient") and self.distance[name] > 1e3 * MOVED_BY
        in_doubt = dtype == torch.float32 and jumps and limit < verdict.error <= 2 * self.distance[name]
        return replace(verdict, allowed=limit, in_doubt=in_doubt)

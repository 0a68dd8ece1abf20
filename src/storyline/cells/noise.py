"""What training may disturb in a recurrence: recurrent dropout and zoneout, as masks that are drawn beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The noise of one layer in one direction, drawn before the pass, so that every backend sees the same.

    recurrent_mask (batch, size of h): h_(t-1) is multiplied by it before weight_hh reads it, by the same mask
        at all steps, already scaled by 1 / (1 - p); None: by 1. Variational dropout, Gal and Ghahramani 2016,
        section 4. Only what weight_hh reads is masked: the z h of a GRU, say, is not.
    zoneout: a tensor a state in the cell's order, fewer for none on the rest, None for none on this one:
        the share of the state before the step that is kept,

            after = after + keep (before - after)          Krueger et al. 2017, eq. 3 and section 3.3

        (time, batch, size): 0 or 1 in training; of shape () in evaluation: the rate. Exactly `before` where
        keep is 1 and exactly `after` where it is 0. It comes last, after the projection too, so that h_t is
        made from the c_t that was not zoned out. Slot t belongs to the step that is read t-th, in a reverse
        direction too; before a step with a reset stands the fresh state.
    """

    recurrent_mask: Tensor | None = None
    zoneout: tuple[Tensor | None, ...] = ()

    def at(self, t: int) -> Noise:
        """The noise of step t, without time."""
        return Noise(
            self.recurrent_mask,
            tuple(each if each is None or each.dim() == 0 else each[t] for each in self.zoneout),
        )

    def mask(self, h: Tensor) -> Tensor:
        """What weight_hh reads: h (batch, size of h), masked."""
        return h if self.recurrent_mask is None else h * self.recurrent_mask

    def zone_out(self, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The state after a step, some of it kept as it was before; the noise is that of the step (`at`)."""
        kept = (*self.zoneout, *[None] * (len(after) - len(self.zoneout)))
        return tuple(
            # lerp is exact at both ends; after + 1 * (before - after) is not. Under autocast dtypes differ.
            new if keep is None else torch.lerp(new, old.to(new.dtype), keep.to(new.dtype))
            for new, old, keep in zip(after, before, kept, strict=True)
        )

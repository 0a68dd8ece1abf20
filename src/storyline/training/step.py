"""One step: forward, backward, the check that all is finite, the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from storyline.training.device import moved
from storyline.training.errors import TrainingError
from storyline.training.interruption import Interruption
from storyline.training.program import Program, decayed_and_not
from storyline.training.schedule import learning_rate_factor
from storyline.training.settings import TrainingSettings
from storyline.training.state import Randomness, State


class NotFiniteError(ArithmeticError):
    """Loss or gradient is nan or infinite; the step was dropped."""

    def __init__(self, item: Any, loss: float, norm: float):
        self.item = item
        super().__init__(
            f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        )


class Stepper:
    """Takes the steps of a training; a step that fails leaves the state as it was."""

    def __init__(self, program: Program, settings: TrainingSettings, fabric: Fabric, total_steps: int):
        self.program, self.settings, self.fabric = program, settings, fabric
        self.total_steps = total_steps
        self.optimizer = _optimizer(program, settings)
        self.parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        self.buffers = list(program.module.buffers())

    def step(self, state: State, batches: Sequence[Any], interruption: Interruption) -> tuple[float, int]:
        """Train on the item at the state's position; gives its loss and how many items it counts for.

        Errors: NotFiniteError, and KeyboardInterrupt before the update, with the state as before the step.
        Afterwards an interruption is forbidden, whatever came of the step.
        """
        counters, device = state.counters, self.fabric.device
        self._set_learning_rate(counters.step)
        randomness = Randomness.now(device)
        buffers = [buffer.clone() for buffer in self.buffers]
        self.optimizer.zero_grad(set_to_none=True)
        try:
            interruption.allow()
            item = batches[counters.position]
            if device.type != "cpu":
                item = moved(item, device)
            with self.fabric.autocast():
                loss, carry, items = self.program.loss(item, state.carry)
            self.fabric.backward(loss)
            # One transfer for both, so that a GPU is waited for once a step.
            value, norm = torch.stack((loss.detach().float(), self._gradient_norm().float())).tolist()
            interruption.forbid()
            if not (math.isfinite(value) and math.isfinite(norm)):
                raise NotFiniteError(item, value, norm)
        except (KeyboardInterrupt, NotFiniteError):
            interruption.forbid()
            randomness.restore(device)
            with torch.no_grad():
                for buffer, before in zip(self.buffers, buffers, strict=True):
                    buffer.copy_(before)
            raise
        self.optimizer.step()
        state.carry = None if carry is None else {name: _own(part) for name, part in carry.items()}
        counters.step += 1
        counters.position += 1
        counters.loss_sum += value
        counters.norm_sum += norm
        counters.logged_steps += 1
        counters.note_norm(norm)
        counters.clipped += self.settings.clip_norm is not None and norm > self.settings.clip_norm
        if state.average is not None:
            state.average.update(counters.step)
        return float(value), items

    def _set_learning_rate(self, step: int) -> None:
        settings = self.settings
        factor = learning_rate_factor(
            step, self.total_steps, schedule=settings.schedule, warmup=settings.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["peak"]

    def _gradient_norm(self) -> Tensor:
        """The norm over all parameters before clipping, which is done where the settings say so."""
        if self.settings.clip_norm is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm, foreach=True)
        gradients = [value.grad for value in self.parameters if value.grad is not None]
        return torch.nn.utils.get_total_norm(gradients, foreach=True)


def _own(part: Tensor) -> Tensor:
    """A copy in one layout: what is in memory here is then what a resumed run reads from its checkpoint."""
    return part.detach().clone(memory_format=torch.contiguous_format)


def _optimizer(program: Program, settings: TrainingSettings) -> AdamW:
    own = getattr(program, "parameter_groups", None)
    groups = None if own is None else own()
    if groups is None:
        groups = decayed_and_not(program.module, settings.weight_decay)
    if not groups:
        raise TrainingError("the module has no parameter that requires a gradient; there is nothing to train")
    # The schedule multiplies each group's own peak.
    groups = [{**group, "peak": group.get("lr", settings.learning_rate)} for group in groups]
    return AdamW(
        groups,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )

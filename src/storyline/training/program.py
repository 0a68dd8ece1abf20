"""What is trained: the contract between a task and the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from torch import Tensor, nn

Carry = dict[str, Tensor]


class Program(Protocol):
    """A model, its batches, its loss and its validation.

    All that the program remembers from step to step must be in `module.state_dict()` or in the carry; all
    randomness in a step must come from torch's default generator; `batches` must depend on nothing but the
    epoch and what the program was built with. Then a run that was killed and resumed ends in the same bits.

    A program may also have `parameter_groups() -> list[dict]` (torch.optim's form; "lr" is the group's peak,
    "weight_decay" its decay); without it there are two groups, with and without weight decay.
    """

    @property
    def module(self) -> nn.Module:
        """What is trained; the loop moves it to the device."""
        ...

    @property
    def monitor(self) -> str:
        """The name, among `validate`'s, of the metric that decides which weights are best."""
        ...

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a small or a large `monitor` is good."""
        ...

    def batches(self, epoch: int) -> Sequence[Any]:
        """The epoch's work items (epochs count from 0), the same number in each epoch; `[i]` may be lazy."""
        ...

    def loss(self, item: Any, carry: Carry | None) -> tuple[Tensor, Carry | None, int]:
        """Mean loss of an item (a scalar), the state for the next one or None, and how many items it was.

        The carry is None at each epoch's start; the loop detaches it. The item's tensors are on the device.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Metrics by name, {} for none; called in eval mode, without gradients, with averaged weights."""
        ...


def decayed_and_not(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weight matrices decay; biases, norms and embeddings (a row is seen rarely) do not."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim < 2 or id(parameter) in embeddings]["params"].append(parameter)
    return [group for group in groups if group["params"]]

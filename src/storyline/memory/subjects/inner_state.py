"""The state of a recurrent layer inside a module, as the answer of a subject that answers at every step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from storyline.layers import Recurrent
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.outputs import Layout
from storyline.memory.subjects.sequences import Rows
from storyline.memory.subjects.soundness import answers_causally
from storyline.memory.subjects.subject import Subject

_TRIED = 3


class WithState(nn.Module):
    """Calls a model, and returns what its recurrent layer `name` gave: (batch, time, size), the forward direction."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    @property
    def called(self) -> str:
        """``LSTM 'encoder'``."""
        return f"{type(self.model.get_submodule(self.name)).__name__} {self.name!r}"

    def forward(self, *given: Any, **more: Any) -> Tensor:
        """As the model is called."""
        outputs = outputs_of(self.model, {self.name: self.model.get_submodule(self.name)}, given, more)[
            self.name
        ]
        assert len(outputs) == 1
        return outputs[0]


def outputs_of(
    model: nn.Module, layers: dict[str, nn.Module], given: tuple[Any, ...], more: dict[str, Any]
) -> dict[str, list[Tensor]]:
    """Call the model; by name, in the order of their calls, what each recurrent layer gave, (batch, time, size)."""
    found: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Any:
        def note(layer: Any, _: Any, output: Any) -> None:
            steps = output[0] if isinstance(output, tuple) else output
            if isinstance(steps, PackedSequence):
                steps = pad_packed_sequence(steps, batch_first=True)[0]
            elif not layer.batch_first and steps.ndim == 3:
                steps = steps.transpose(0, 1)
            size = steps.shape[-1] // (2 if layer.bidirectional else 1)
            found.setdefault(name, []).append(steps[..., :size])

        return note

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        model(*given, **more)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def state_subject(subject: Subject, rows: Rows) -> Subject | None:
    """The subject that answers with the state h of the last recurrent layer that reads all steps in one call.

    None where the module has none, or none that has not seen what comes later: of a stack that reads in both
    directions every layer but the lowest has.
    """
    model = subject.model
    if not isinstance(model, nn.Module):
        return None
    tried = sorted(rows, key=len)[-_TRIED:]
    batch = torch.stack([row[-len(tried[0]) :] for row in tried])
    layers = {
        name: each
        for name, each in model.named_modules()
        if name and isinstance(each, nn.RNNBase | Recurrent)
    }
    if not layers:
        return None
    seen: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            subject.returned(batch[: subject.rows_at_once])
    finally:
        for hook in hooks:
            hook.remove()
    for name in reversed(seen):
        if seen.count(name) > 1:
            continue
        inner = replace(subject, model=WithState(model, name), layout=Layout(0, 1))
        with torch.no_grad():
            try:
                states = inner.answer(batch, None)
            except MeasureError:
                continue  # its steps are not the model's
            if not torch.equal(states[0], states[1]) and answers_causally(inner, batch, states.double()):
                return replace(inner, causal=True)
    return None

"""Where and in which precision a training runs, and what of torch's global state it sets for its time."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from storyline.training.errors import TrainingError
from storyline.training.settings import TrainingSettings, available_threads

# Fabric announces its precision on standard error at level INFO; the command line says what it uses itself.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def make_fabric(settings: TrainingSettings, module: nn.Module) -> Fabric:
    """The device and precision that the settings ask for; TrainingError where this machine cannot train `module`."""
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device is 'cuda', but torch finds no CUDA device here; take 'auto' or 'cpu'")
    # What else a model is made of runs in bfloat16 everywhere; a Transformer has nothing recurrent.
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    if settings.precision == "bf16" and recurrent and (reason := _without_bf16(device)) is not None:
        raise TrainingError(
            f"precision is 'bf16', but this {device} cannot run the model's recurrent layers in it ({reason}); "
            "take '32'"
        )
    return Fabric(
        accelerator=device, devices=1, precision="bf16-mixed" if settings.precision == "bf16" else "32-true"
    )


@functools.cache
def _without_bf16(device: str) -> str | None:
    """Why a tiny LSTM fails forward or backward under bfloat16 autocast; None where it runs."""
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        layer = nn.LSTM(2, 2).to(device)
        try:
            with torch.autocast(device, dtype=torch.bfloat16):
                output, _ = layer(torch.zeros(2, 1, 2, device=device))
            output.float().sum().backward()
        except RuntimeError as error:
            return str(error).split(". ")[0].splitlines()[0]
    return None


def moved(item: Any, device: torch.device) -> Any:
    """The item with its tensors on `device`: tensors, tuples, lists, dicts and dataclasses of them."""
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(moved(part, device) for part in item))
    if isinstance(item, (list, tuple)):
        return type(item)(moved(part, device) for part in item)
    if isinstance(item, dict):
        return {name: moved(part, device) for name, part in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        parts = {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.init}
        return dataclasses.replace(item, **{name: moved(part, device) for name, part in parts.items()})
    return item


@contextmanager
def torch_set(settings: TrainingSettings, device: torch.device) -> Iterator[int]:
    """Set torch's threads, and give their number; afterwards threads and generators are as before."""
    before = torch.get_num_threads()
    threads = settings.threads or available_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_num_threads(threads)
        try:
            yield threads
        finally:
            torch.set_num_threads(before)

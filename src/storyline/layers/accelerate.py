"""Swap the recurrent layers of a user's model for ours, and back: `accelerate` and `restore`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from storyline.cells import lstm
from storyline.kernels import choose_backend
from storyline.layers.agreement import RULE, Agreement, measure_agreement
from storyline.layers.stand_in import STAND_INS, StandIn, stand_in, step_back


@dataclass(frozen=True)
class Swap:
    """What became of one recurrent module.

    names: every name that the model has for it, "" for the model itself; kind: "LSTM", say; sizes: in words.
    agreement: how far it is from torch.nn, None where it was not tried. left_alone: why it was not swapped,
    None where it was.
    """

    names: tuple[str, ...]
    kind: str
    sizes: str
    agreement: Agreement | None
    left_alone: str | None

    def __str__(self) -> str:
        """One line."""
        name = " = ".join(each or "(the model)" for each in self.names)
        what = f"{name}: {self.kind}{self.sizes and f' {self.sizes}'}"
        if self.left_alone is not None:
            return f"{what}; left alone: {self.left_alone}"
        assert self.agreement is not None
        tried = self.agreement
        return (
            f"{what}; backend {tried.backend} ({tried.reason}); "
            f"deviation {tried.deviation:.1e}, torch.nn's own {tried.own:.1e}"
        )


@dataclass(frozen=True, repr=False)
class Acceleration:
    """What `accelerate` did; printed, a line a module.

    model: the model that was given, changed in place.
    """

    model: nn.Module
    swaps: tuple[Swap, ...]

    def __str__(self) -> str:
        """A line for the whole, and one a module."""
        if not self.swaps:
            return "nothing to accelerate: the model holds no nn.RNN, nn.LSTM or nn.GRU"
        done = sum(each.left_alone is None for each in self.swaps)
        head = f"accelerated {done} of {len(self.swaps)} recurrent modules, checked on the spot ({RULE})"
        return "\n".join([head, *(f"  {each}" for each in self.swaps)])

    __repr__ = __str__


def accelerate(model: nn.Module, *, backend: str = "auto") -> Acceleration:
    """Let Storyline's kernels run every nn.RNN, nn.LSTM and nn.GRU inside `model`, in place.

    A module stays the object that it is, the model itself included if it is one: parameters, their names, an
    optimiser that holds them, hooks, training mode and shared modules go on as before. It also goes on
    reading a PackedSequence, and takes `lengths=`, `resets=` and `return_trace=` besides, see
    `Recurrent.forward`. `isinstance(module, nn.LSTM)` becomes False, `nn.RNNBase` stays. The model can be
    copied and pickled; who loads the pickle needs Storyline. A state_dict is the same as before.

    Every module is first tried beside torch.nn on random input with its own weights: outputs, last states and
    all gradients, dense and packed (`agreement.RULE`). Those that differ, subclasses of torch.nn's layers,
    and whatever cannot be tried are left alone, and the report says why. Dropout between layers draws other
    random numbers than torch.nn does.

    backend: as for the layers. Returns the report. Raises TypeError where `model` is no nn.Module, ValueError
    where the backend is unknown or is not there.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    choose_backend(backend, lstm)
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCellBase, StandIn)):
            names.setdefault(module, []).append(name)
    swaps = [_try(module, tuple(held), backend) for module, held in names.items()]
    # All checks come first: one that raises leaves the whole model as it was.
    for module, swap in zip(names, swaps, strict=True):
        if swap.left_alone is None:
            assert isinstance(module, nn.RNNBase)
            stand_in(module, backend)
    return Acceleration(model, tuple(swaps))


def restore(model: nn.Module) -> tuple[str, ...]:
    """Undo `accelerate`, in place: every module is torch.nn's again, with the parameters that it has now.

    Returns the names of the modules that came back, "" for the model itself.
    Raises TypeError where `model` is no nn.Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    back = {name: module for name, module in model.named_modules() if isinstance(module, StandIn)}
    for module in back.values():
        step_back(module)
    return tuple(back)


def _try(module: nn.Module, names: tuple[str, ...], backend: str) -> Swap:
    original = vars(module)["_stands_in_for"][0] if isinstance(module, StandIn) else type(module)
    kind, sizes = original.__name__, _sizes(module)
    obstacle = _obstacle(module)
    if obstacle is not None:
        return Swap(names, kind, sizes, None, obstacle)
    assert isinstance(module, nn.RNNBase)
    try:
        agreement = measure_agreement(module, backend)
    except (RuntimeError, ValueError) as problem:
        # torch names its reason in the first line and goes on about its internals.
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        return Swap(names, kind, sizes, None, f"it could not be tried: {reason}")
    differs = None
    if not agreement.holds:
        differs = (
            f"its numbers would differ: deviation {agreement.deviation:.1e} on backend {agreement.backend}, "
            f"torch.nn's own {agreement.own:.1e}"
        )
    return Swap(names, kind, sizes, agreement, differs)


def _obstacle(module: nn.Module) -> str | None:
    """Why a module must be left alone before anything is tried, or None."""
    if isinstance(module, StandIn):
        return "accelerated before; restore() and accelerate() again to change the backend"
    if isinstance(module, nn.RNNCellBase):
        return "a single step; only whole layers are swapped"
    if nn.utils.parametrize.is_parametrized(module):
        return "its weights are parametrized, which gives it a class of its own"
    if type(module) not in STAND_INS:
        above = next(each for each in type(module).__mro__ if each in STAND_INS)
        return f"a subclass of nn.{above.__name__}, whose changes would be lost"
    if "forward" in vars(module):
        return "its forward was replaced by hand, and the replacement would be lost"
    assert isinstance(module, nn.RNNBase)
    if any(getattr(module, name).is_meta for name in module._flat_weights_names):
        return "its weights are on the meta device and have no values to check with"
    return None


def _sizes(module: nn.Module) -> str:
    """`64 -> 128, 2 layers, both directions`."""
    text = f"{module.input_size} -> {module.hidden_size}"
    if isinstance(module, nn.RNNBase):
        text += f" -> {module.proj_size}" if module.proj_size else ""
        text += f", {module.num_layers} layers" if module.num_layers > 1 else ""
        text += ", both directions" if module.bidirectional else ""
    return text

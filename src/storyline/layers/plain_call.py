"""The call that most layers get, a tensor alone or with its state, handed to the kernels in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from storyline.kernels import ShortScan, is_plain, native_backend, reads_tensors, why_not_cpu

if TYPE_CHECKING:
    from storyline.layers.recurrent import Recurrent

_NAMES = {
    True: ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
    False: ("weight_ih_l0", "weight_hh_l0"),
}
_KEPT = "_short_scan"


def plain_call(layer: Recurrent, input: Any, hx: Any) -> tuple[Tensor, Any] | None:
    """What `layer.forward(input, hx)` returns, or None where the call is not of the plainest kind.

    Refuses nothing: what does not fit is no plain call, and the general way says what is wrong with it.
    """
    # First, so that a traced graph sees nothing of the rest.
    if not is_plain() or type(input) is not Tensor or input.dim() != 3:
        return None
    held = layer.__dict__
    scan = held.get(_KEPT)
    if scan is None:
        scan = held[_KEPT] = _scan_of(layer)
    if isinstance(scan, bool) or layer.backend not in ("auto", "cpu") or layer.checkpoint_every is not None:
        return None
    parameters = held["_parameters"]
    try:
        weights = tuple([parameters[name] for name in _NAMES[layer.bias]])
    except KeyError:  # computed from other parameters by a parametrisation
        return None
    if hx is not None and (type(hx) is tuple) != (len(scan.cell.states) > 1):
        return None
    state = hx if hx is None or type(hx) is tuple else (hx,)
    if state is not None and not all(type(each) is Tensor for each in state):
        return None
    done = scan(input.transpose(0, 1) if layer.batch_first else input, weights, state)
    if done is None:
        if weights[0].dtype is not scan.dtype:
            del held[_KEPT]  # made for what the layer was before
        return None
    # Not by an assignment, for which a module of torch.nn takes as long as all of this.
    held["last_backend"] = native_backend(scan.cell, layer.backend)
    output, *last = done
    if layer.batch_first:
        output = output.transpose(0, 1)
    return output, last[0] if len(last) == 1 else tuple(last)


def forget_plain_call(held: dict[str, Any]) -> dict[str, Any]:
    """A layer's attributes as they are pickled and copied: without what C++ has made for it."""
    return {name: value for name, value in held.items() if name != _KEPT}


def _scan_of(layer: Recurrent) -> ShortScan | bool:
    """Of a layer for which there is one, else False."""
    plain = layer.num_layers == 1 and not (
        layer.bidirectional or layer.proj_size or layer.learn_initial_state
    )
    if not (plain and reads_tensors) or layer.cell.parameters or layer.rates.active(training=True):
        return False
    if why_not_cpu(layer.cell, None, None) is not None:
        return False
    dtype = layer.weight_ih_l0.dtype
    return ShortScan(layer.cell, layer.input_size, layer.hidden_size, dtype, bias=layer.bias)

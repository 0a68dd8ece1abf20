"""onnxruntime: ONNX's LSTM operator in a graph of any length, for inference and for single steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.problem import Answer, Implementation, Problem, UnavailableError


def onnx_peers(problem: Problem, threads: int) -> dict[str, Callable[[], Implementation]]:
    """By name; none where the graph would have to train, or would hold more than one plain LSTM."""
    case = problem.case
    if case.work == "step":
        return {
            "onnxruntime": lambda: _step(problem, threads),
            "onnxruntime-bound": lambda: _bound_step(problem, threads),
        }
    plain = case.cell == "lstm" and not case.layer_norm and not case.bidirectional
    if case.work == "inference" and plain:
        return {"onnxruntime": lambda: _whole(problem, threads)}
    return {}


def _session(problem: Problem, threads: int, *, state: bool) -> Any:
    """Input X (time, batch, size), lengths L (batch,) where the case is ragged, h and c where `state` is kept."""
    try:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise UnavailableError(f"{error.name} is not installed; `make bench-speed` installs it") from error
    size = problem.case.hidden_size
    constants = [numpy_helper.from_array(value, name) for name, value in _weights(problem).items()]
    constants.append(numpy_helper.from_array(np.array([1]), "axes"))
    inputs = [_value("X", "time", size)]
    names = ["X", "W", "R", "B", "L" if problem.lengths is not None else ""]
    if problem.lengths is not None:
        inputs.append(helper.make_tensor_value_info("L", TensorProto.INT32, ["batch"]))
    if state:
        names += ["h", "c"]
        inputs += [_value(name, 1, size) for name in ("h", "c")]
    nodes = [
        helper.make_node("LSTM", names, ["all", "h_n", "c_n"], hidden_size=size),
        helper.make_node("Squeeze", ["all", "axes"], ["output"]),
    ]
    results = [_value("output", "time", size), _value("h_n", 1, size), _value("c_n", 1, size)]
    graph = helper.make_graph(nodes, "lstm", inputs, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Its threads may spin within a call, as they do by default, but not on into the next one's time.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _value(name: str, first: int | str, size: int) -> Any:
    """A float tensor (first, batch, size), described for a graph."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [first, "batch", size])


def _weights(problem: Problem) -> dict[str, np.ndarray]:
    """Ours in ONNX's order of gates, i o f c for torch's i f g o; a leading dimension for the one direction."""

    def turned(name: str) -> np.ndarray:
        i, f, g, o = np.split(problem.weights[name].numpy(), 4)
        return np.concatenate([i, o, f, g])

    bias = np.concatenate([turned("bias_ih_l0"), turned("bias_hh_l0")])
    return {"W": turned("weight_ih_l0")[None], "R": turned("weight_hh_l0")[None], "B": bias[None]}


def _whole(problem: Problem, threads: int) -> Implementation:
    session = _session(problem, threads, state=False)
    feeds = {"X": problem.input.numpy()}
    if problem.lengths is not None:
        feeds["L"] = problem.lengths.numpy().astype(np.int32)
    return Implementation(
        run=lambda: session.run(None, feeds),
        answer=lambda: dict(zip(("output", "h_n", "c_n"), session.run(None, feeds), strict=True)),
    )


def _zeros(problem: Problem) -> np.ndarray:
    return np.zeros((1, 1, problem.case.hidden_size), np.float32)


def _step(problem: Problem, threads: int) -> Implementation:
    session = _session(problem, threads, state=True)
    xs, zeros, names = problem.input.numpy(), _zeros(problem), ["output", "h_n", "c_n"]
    first, h, c = xs[:1], zeros, zeros

    def run() -> None:
        nonlocal h, c
        _, h, c = session.run(names, {"X": first, "h": h, "c": c})

    def answered() -> Answer:
        outputs, h, c = [], zeros, zeros
        for x in xs:
            output, h, c = session.run(names, {"X": x[None], "h": h, "c": c})
            outputs.append(output)
        return {"output": np.concatenate(outputs), "h_n": h, "c_n": c}

    return Implementation(run, answered)


def _bound_step(problem: Problem, threads: int) -> Implementation:
    """Inputs and outputs bound to memory once, the state read where it was written: two bindings, used in turn."""
    session = _session(problem, threads, state=True)
    import onnxruntime

    xs, zeros = problem.input.numpy(), _zeros(problem)
    x, output = (onnxruntime.OrtValue.ortvalue_from_numpy(zeros.copy()) for _ in range(2))
    states = [[onnxruntime.OrtValue.ortvalue_from_numpy(zeros.copy()) for _ in range(2)] for _ in range(2)]
    bindings = [session.io_binding() for _ in range(2)]
    for turn, binding in enumerate(bindings):
        binding.bind_ortvalue_input("X", x)
        binding.bind_ortvalue_output("output", output)
        for place, name in enumerate(("h", "c")):
            binding.bind_ortvalue_input(name, states[turn][place])
            binding.bind_ortvalue_output(f"{name}_n", states[1 - turn][place])
    now = 0
    first = xs[:1]

    def read(value: np.ndarray) -> None:
        nonlocal now
        x.update_inplace(value)
        session.run_with_iobinding(bindings[now])
        now = 1 - now

    def answered() -> Answer:
        nonlocal now
        now = 0
        for each in states[0]:
            each.update_inplace(zeros)
        outputs = []
        for value in xs:
            read(value[None])
            outputs.append(output.numpy().copy())
        h, c = (each.numpy().copy() for each in states[now])
        return {"output": np.concatenate(outputs), "h_n": h, "c_n": c}

    return Implementation(lambda: read(first), answered)

"""What is timed: the work, its shape, and what it must reach. Everything is float32, input_size = hidden_size."""

from __future__ import annotations

from dataclasses import dataclass, replace

PREACTIVATIONS = {"lstm": 4, "gru": 3, "rnn": 1}

# What a bar is measured against. A ratio is the other's seconds by ours; "torch" and the like are the fastest of the
# peers whose names begin so.
OTHERS = "the fastest other"
TORCH = "torch"
PACKED = "torch-packed"
ONNX = "onnxruntime"
PEAK = "% of the peak"
# These two are ours over ours, and small is good.
TIME_GROWTH = "time a step over a short one's"
MEMORY_GROWTH = "memory a step over a short one's"
SMALL_IS_GOOD = (TIME_GROWTH, MEMORY_GROWTH)


@dataclass(frozen=True)
class Bar:
    """What a case must reach, and what it aims at, against whom; with neither it is only shown."""

    against: str
    must: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Case:
    """One line of the table.

    group: the file of results/ that its rows go to.
    work: "training" (forward, then the gradients of the input and of every parameter for a given gradient of
        the output), "inference" (forward alone), or "step" (one step of one sequence, the state kept).
    ragged: lengths uniform in [time / 4, time]; rows are padded at their ends to `time`.
    short_time: of a case about growth: the length that the long one's seconds and bytes a step are held against.
    """

    name: str
    title: str
    group: str
    cell: str
    work: str
    time: int
    batch: int
    hidden_size: int
    bars: tuple[Bar, ...]
    ragged: bool = False
    bidirectional: bool = False
    layer_norm: bool = False
    short_time: int | None = None

    def tiny(self) -> Case:
        """The same work in milliseconds, so that the suite can keep it from rotting; the figures mean nothing."""
        time = 120 if self.short_time else min(self.time, 12)
        batch, hidden_size = min(self.batch, 3), min(self.hidden_size, 8)
        return replace(
            self, time=time, batch=batch, hidden_size=hidden_size, short_time=self.short_time and 12
        )

    def flops(self, row_steps: int) -> int:
        """Of matrix products alone, 2 a multiply-add, for this many steps, summed over the rows.

        Forward: weight_ih x and weight_hh h. Backward twice that: one product for the gradient of each factor.
        """
        directions = 2 if self.bidirectional else 1
        gates = PREACTIVATIONS[self.cell] * self.hidden_size
        forward = 2 * gates * (self.hidden_size + self.hidden_size)
        return directions * row_steps * forward * (3 if self.work == "training" else 1)


def _size(time: int, batch: int, hidden_size: int) -> str:
    return f"t{time}-b{batch}-h{hidden_size}"


def _ragged(work: str, time: int, batch: int, hidden_size: int, must: float, aim: float) -> Case:
    return Case(
        f"lstm-{work}-ragged-{_size(time, batch, hidden_size)}",
        f"LSTM {work}, ragged, T{time} B{batch} H{hidden_size}",
        "ragged", "lstm", work, time, batch, hidden_size, (Bar(OTHERS, must, aim), Bar(PACKED)), ragged=True,
    )  # fmt: skip


def _dense(
    cell: str, title: str, size: tuple[int, int, int], *bars: Bar, group: str = "training", **more: bool
) -> Case:
    time, batch, hidden_size = size
    return Case(
        "-".join(word.lower().replace(" ", "-") for word in (title, "training", _size(*size))),
        f"{title} training, T{time} B{batch} H{hidden_size}",
        group, cell, "training", time, batch, hidden_size, bars, **more,
    )  # fmt: skip


def _step(hidden_size: int, *bars: Bar) -> Case:
    return Case(
        f"lstm-step-h{hidden_size}", f"LSTM, one step through Python, B1 H{hidden_size}",
        "step", "lstm", "step", 8, 1, hidden_size, bars,
    )  # fmt: skip


def _grid(batch: int, hidden_size: int) -> Case:
    return Case(
        f"lstm-inference-{_size(100, batch, hidden_size)}", f"LSTM inference, T100 B{batch} H{hidden_size}",
        "grid", "lstm", "inference", 100, batch, hidden_size, (Bar(OTHERS, 1.0),),
    )  # fmt: skip


# The mean ratio that the grid of dense inference aims at.
GRID_AIM = 1.5

_MIDDLE = (200, 32, 128)
_LISTED = (
    _ragged("training", 200, 32, 128, 7, 12),
    _ragged("training", 1000, 16, 128, 15, 30),
    _ragged("training", 200, 64, 512, 15, 30),
    _ragged("inference", 200, 32, 128, 4, 6),
    _dense("lstm", "LSTM", (100, 1, 64), Bar(OTHERS, 1.9, 3)),
    _dense("lstm", "LSTM", _MIDDLE, Bar(OTHERS, 1.7, 2.2), Bar(PEAK, 60, 75)),
    _dense("lstm", "LSTM", (200, 64, 512), Bar(OTHERS, 1.2, 1.5), Bar(PEAK, 75, 85)),
    _dense("gru", "GRU", _MIDDLE, Bar(OTHERS, 3.5, 6)),
    _dense("rnn", "RNN", _MIDDLE, Bar(OTHERS, 2.5, 4)),
    _dense("lstm", "Layer-norm LSTM", _MIDDLE, Bar(OTHERS, 8, 15), layer_norm=True),
    _dense("lstm", "Bidirectional LSTM", _MIDDLE, Bar(OTHERS, 1.8, 2.5), bidirectional=True),
    *(_grid(batch, hidden_size) for hidden_size in (64, 128, 256, 512) for batch in (1, 8, 32, 64)),
    _step(64, Bar(TORCH, 12, 25), Bar(ONNX, 2)),
    _step(256, Bar(TORCH, 5, 10), Bar(ONNX, 1.5)),
    Case(
        "lstm-training-t100000-b4-h64", "LSTM training, T100,000 over T1,000, B4 H64",
        "long", "lstm", "training", 100_000, 4, 64,
        (Bar(TIME_GROWTH, 1.1, 1.0), Bar(MEMORY_GROWTH, 1.1, 1.0)), short_time=1000,
    ),
)  # fmt: skip
CASES: dict[str, Case] = {case.name: case for case in _LISTED}

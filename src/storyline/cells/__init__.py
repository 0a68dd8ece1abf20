"""The equations: what a cell is, each cell in a file of its own, and the plain loop that defines them all."""

from storyline.cells.cell import Cell, Gates, OwnParameter, Scan, State, scan, vector
from storyline.cells.gru import gru
from storyline.cells.lstm import lstm
from storyline.cells.lstm_coupled import lstm_coupled
from storyline.cells.lstm_peephole import lstm_peephole
from storyline.cells.noise import Noise
from storyline.cells.normalised import gru_layer_norm, lstm_layer_norm
from storyline.cells.rnn import rnn_relu, rnn_tanh
from storyline.cells.slstm import slstm

# Every cell of the house by its name; tests, benchmarks and backends pick them up from here.
CELLS: dict[str, Cell] = {
    each.name: each
    for each in (
        rnn_tanh,
        rnn_relu,
        lstm,
        lstm_peephole,
        lstm_coupled,
        lstm_layer_norm,
        gru,
        gru_layer_norm,
        slstm,
    )
}

__all__ = [
    "CELLS",
    "Cell",
    "Gates",
    "Noise",
    "OwnParameter",
    "Scan",
    "State",
    "gru",
    "gru_layer_norm",
    "lstm",
    "lstm_coupled",
    "lstm_layer_norm",
    "lstm_peephole",
    "rnn_relu",
    "rnn_tanh",
    "scan",
    "slstm",
    "vector",
]

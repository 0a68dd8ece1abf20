"""The equations: what a cell is, each cell in a file of its own, and the plain loop that defines them all."""

from storyline.cells.cell import Cell, Gates, Scan, State, scan
from storyline.cells.gru import gru
from storyline.cells.lstm import lstm
from storyline.cells.rnn import rnn_relu, rnn_tanh

__all__ = ["Cell", "Gates", "Scan", "State", "gru", "lstm", "rnn_relu", "rnn_tanh", "scan"]

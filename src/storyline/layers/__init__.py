"""Layers, tensor in, tensor out: recurrent stacks, embeddings, pooling, heads."""

from storyline.layers.dropout import LockedDropout
from storyline.layers.embedding import TokenEmbedding
from storyline.layers.head import LinearHead
from storyline.layers.pooling import Pooling, pool
from storyline.layers.recurrent import Recurrent, State
from storyline.layers.rnn import GRU, LSTM, RNN
from storyline.layers.trace import Trace

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "LinearHead",
    "LockedDropout",
    "Pooling",
    "Recurrent",
    "State",
    "TokenEmbedding",
    "Trace",
    "pool",
]

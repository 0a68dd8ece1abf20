"""Layers, tensor in, tensor out: recurrent stacks, embeddings, pooling, heads."""

from storyline.layers.accelerate import Acceleration, Swap, accelerate, restore
from storyline.layers.attention import ATTENTIONS, Attention
from storyline.layers.cell_stack import CellStack
from storyline.layers.dropout import LockedDropout
from storyline.layers.embedding import CharacterEmbedding, TokenEmbedding
from storyline.layers.head import AdaptiveHead, Head, LinearHead, SampledHead, TiedHead
from storyline.layers.pooling import Pooling, pool
from storyline.layers.probe import MemoryProbe
from storyline.layers.recurrent import Recurrent, State
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder
from storyline.layers.rnn import GRU, LSTM, RNN
from storyline.layers.sharpening import sharpen
from storyline.layers.slstm import SLSTM
from storyline.layers.state_perturbation import StatePerturbation
from storyline.layers.stream import Stream
from storyline.layers.trace import Trace

__all__ = [
    "ATTENTIONS",
    "GRU",
    "LSTM",
    "RNN",
    "SLSTM",
    "Acceleration",
    "AdaptiveHead",
    "Attention",
    "CellStack",
    "CharacterEmbedding",
    "Head",
    "LinearHead",
    "LockedDropout",
    "MemoryProbe",
    "Pooling",
    "Recurrent",
    "RecurrentDecoder",
    "RecurrentEncoder",
    "SampledHead",
    "State",
    "StatePerturbation",
    "Stream",
    "Swap",
    "TiedHead",
    "TokenEmbedding",
    "Trace",
    "accelerate",
    "pool",
    "restore",
    "sharpen",
]

"""Layers, tensor in, tensor out: recurrent stacks, embeddings, pooling, heads."""

from storyline.layers.accelerate import Acceleration, Swap, accelerate, restore
from storyline.layers.attention import Attention
from storyline.layers.attentions import ATTENTIONS
from storyline.layers.cell_stack import CellStack
from storyline.layers.copying import CopyingHead
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded, Encoder
from storyline.layers.dropout import LockedDropout
from storyline.layers.embedding import CharacterEmbedding, TokenEmbedding
from storyline.layers.episodic_memory import EpisodicMemory
from storyline.layers.head import AdaptiveHead, Head, LinearHead, SampledHead, TiedHead
from storyline.layers.packed import PackedScores, packed
from storyline.layers.phrase_memory import PhraseMemory
from storyline.layers.pooling import Pooling, pool
from storyline.layers.probe import MemoryProbe
from storyline.layers.question_attention import AlignedQuestion, WeightedPooling
from storyline.layers.recurrent import Recurrent, State
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder
from storyline.layers.rnn import GRU, LSTM, RNN
from storyline.layers.sentence_encoder import SentenceEncoder
from storyline.layers.sharpening import sharpen
from storyline.layers.slstm import SLSTM
from storyline.layers.smoothed_loss import smoothed_loss
from storyline.layers.span_head import SpanHead, best_spans, span_loss
from storyline.layers.state_perturbation import StatePerturbation
from storyline.layers.stream import Stream
from storyline.layers.trace import Trace
from storyline.layers.transformer import Transformer
from storyline.layers.transformer_decoder import TransformerDecoder
from storyline.layers.transformer_encoder import TransformerEncoder

__all__ = [
    "ATTENTIONS",
    "GRU",
    "LSTM",
    "RNN",
    "SLSTM",
    "Acceleration",
    "AdaptiveHead",
    "AlignedQuestion",
    "Attention",
    "CellStack",
    "CharacterEmbedding",
    "CopyingHead",
    "Decoded",
    "Decoder",
    "DecodingState",
    "Encoded",
    "Encoder",
    "EpisodicMemory",
    "Head",
    "LinearHead",
    "LockedDropout",
    "MemoryProbe",
    "PackedScores",
    "PhraseMemory",
    "Pooling",
    "Recurrent",
    "RecurrentDecoder",
    "RecurrentEncoder",
    "SampledHead",
    "SentenceEncoder",
    "SpanHead",
    "State",
    "StatePerturbation",
    "Stream",
    "Swap",
    "TiedHead",
    "TokenEmbedding",
    "Trace",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "WeightedPooling",
    "accelerate",
    "best_spans",
    "packed",
    "pool",
    "restore",
    "sharpen",
    "smoothed_loss",
    "span_loss",
]

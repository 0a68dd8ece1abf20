"""Text to ids and back: words, characters, byte pairs."""

from storyline.data.encoders.characters import CharacterEncoder
from storyline.data.encoders.copying import copy_unknown
from storyline.data.encoders.encoder import TextEncoder, text_encoder
from storyline.data.encoders.pair import PairEncoder
from storyline.data.encoders.subwords import BytePairEncoder
from storyline.data.encoders.words import WordEncoder

__all__ = [
    "BytePairEncoder",
    "CharacterEncoder",
    "PairEncoder",
    "TextEncoder",
    "WordEncoder",
    "copy_unknown",
    "text_encoder",
]

"""Word vectors in text files: a word and its numbers a line, as word2vec, GloVe and fastText write them."""

from __future__ import annotations

import gzip
import io
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError, checked_bytes, read_bytes

# So many lines decide how many numbers a line has, where no header says it.
_DECIDING = 100


@dataclass(frozen=True, eq=False)
class VectorTable:
    """What a file of word vectors holds.

    words       (n,) different ones, in the file's order
    vectors     (n, size) float32
    duplicates  lines whose word had come before; the first line of a word counts
    """

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    duplicates: int


def read_word_vectors(path: str | Path, limit: int | None = None) -> VectorTable:
    """The vectors of a text file, `.gz` too: with a header of count and size (word2vec, fastText) or without (GloVe).

    Fields are parted by single blanks; a word may hold blanks itself. limit: read the first so many lines only.
    The whole file is held in memory while it is read.
    Raises DataError, with the line, for a line of more or fewer numbers than the others, a field that is no finite
    number, a line without a word, and a file that holds another number of lines than its header says.
    """
    name = str(path)
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1, or None for the whole file")
    if name.endswith(".bin"):
        raise DataError(f"{name} is word2vec's binary format; save the vectors as text, and give that file")
    lines = iter(io.BytesIO(checked_bytes(name, read_bytes(path))))
    first = list(islice(lines, _DECIDING))
    header = _header(first)
    size = header[1] if header else _size(first, name)
    begin = 1 if header else 0
    rows = chain(first[begin:], lines)
    words, numbers, duplicates = _read(islice(rows, limit), size, begin + 1, name)
    read = len(words) + duplicates
    if header and read != header[0] and (limit is None or read < min(limit, header[0])):
        raise DataError(
            f"{name} says in line 1 that it holds {header[0]:,} vectors, and holds {read:,}; is it cut off?"
        )
    return VectorTable(
        tuple(words), np.array(numbers, dtype=np.float32).reshape(len(words), size), duplicates
    )


def word2vec_text(words: Sequence[str], vectors: NDArray[np.float32]) -> Iterator[str]:
    """The lines of word2vec's text format, the header first: read again they give the same bits."""
    yield f"{len(words)} {vectors.shape[1]}\n"
    for word, vector in zip(words, vectors, strict=True):
        data = word.encode("utf-8")
        if data != data.strip(b" \r\n") or b"\n" in data or _ends_in_number(data) or not data:
            raise DataError(
                f"the word {word!r} cannot be told from its numbers in a file: it is empty, holds a line break, "
                "or has a blank at an end or before a number; rename it"
            )
        yield f"{word} {' '.join(map(str, vector))}\n"


def packed(lines: Iterable[str], *, compress: bool) -> bytes:
    """The bytes of a file of these lines; compressed ones do not depend on the time."""
    data = "".join(lines).encode("utf-8")
    return gzip.compress(data, mtime=0) if compress else data


def _fields(line: bytes) -> list[bytes]:
    return line.rstrip(b" \r\n").split(b" ")


def _header(first: list[bytes]) -> tuple[int, int] | None:
    """(count, size) where the first line is a header: two whole numbers, and the second line has `size` numbers."""
    fields = _fields(first[0])
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    count, size = map(int, fields)
    return (count, size) if len(first) < 2 or size > 1 or len(_fields(first[1])) == 2 else None


def _size(first: list[bytes], name: str) -> int:
    """How many numbers most of the first lines have behind their word."""
    size = Counter(len(_fields(line)) - 1 for line in first).most_common(1)[0][0]
    if size < 1:
        raise DataError(
            f"{name}, line 1: {_shown(first[0])} is no word with numbers behind it, parted by single blanks; "
            "give a text file of word2vec, GloVe or fastText"
        )
    return size


def _read(lines: Iterable[bytes], size: int, begin: int, name: str) -> tuple[list[str], array[float], int]:
    """Words, all their numbers behind one another, and how many lines were of a word that had come before."""
    known: set[bytes] = set()
    words: list[str] = []
    numbers = array("f")
    duplicates = 0
    for number, line in enumerate(lines, begin):
        word, *fields = line.rstrip(b" \r\n").rsplit(b" ", size)
        values = _numbers(fields) if len(fields) == size and word else None
        # A number before the last `size` ones is no end of a word with blanks, but one number too many.
        if values is None or (b" " in word and _numbers(word.rsplit(b" ", 1)[1:])):
            raise DataError(f"{name}, line {number}: {_fault(line, size)}")
        if word in known:
            duplicates += 1
            continue
        known.add(word)
        words.append(word.decode("utf-8"))
        numbers.extend(values)
    return words, numbers, duplicates


def _ends_in_number(word: bytes) -> bool:
    return b" " in word and _numbers(word.rsplit(b" ", 1)[1:]) is not None


def _numbers(fields: list[bytes]) -> list[float] | None:
    """The finite float32 numbers that the fields spell, None where one of them is none."""
    try:
        values = list(map(float, fields))
    except ValueError:
        return None
    return values if all(-3.4e38 < value < 3.4e38 for value in values) else None


def _fault(line: bytes, size: int) -> str:
    word, *fields = _fields(line)
    wrong = next((field for field in fields[-size:] if _numbers([field]) is None), None)
    if not line.strip():
        return "a blank line; remove it"
    if not word:
        return "no word before the numbers; the line begins with a blank"
    if wrong is not None and len(fields) >= size:
        return f"{_shown(wrong)} is no finite number; every word has {size} of them behind it"
    found = sum(_numbers([field]) is not None for field in fields)
    return (
        f"{found} numbers behind {_shown(word)}, where the others have {size}; correct the line or remove it"
    )


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "replace").rstrip("\r\n")
    return repr(text if len(text) <= 40 else text[:40] + "...")

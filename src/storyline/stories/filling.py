"""The filling: real prose (or the grammar's), cut into splits that share no document."""

from __future__ import annotations

import functools
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storyline.stories.prose import template_prose
from storyline.stories.script import SPLITS

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")
_SUFFIXES = (".txt", ".txt.xz", ".parquet")


@dataclass(frozen=True, eq=False)
class Filling:
    """Prose as numbers: one long run of words a split, its documents one after another.

    source     where it comes from: the name of the file or folder, without what lies above it
    ranks      word -> its rank by frequency in the training split, the most frequent first; words that only
               other splits hold follow after these
    known      how many of the ranks the training split holds
    streams    split -> (words,) int32 of ranks
    documents  split -> the names of its documents
    """

    source: str
    ranks: dict[str, int]
    known: int
    streams: dict[str, np.ndarray]
    documents: dict[str, tuple[str, ...]]


def split_words(text: str) -> list[str]:
    """Words, lower-cased; each punctuation mark is a word of its own."""
    return _WORD.findall(text.lower())


@functools.lru_cache(maxsize=8)
def read_filling(path: str | None = None) -> Filling:
    """Read prose from a file or a folder of .txt, .txt.xz and .parquet; None: the grammar that is built in.

    A document is a file, or in a table (column `text`) all rows of one `ticker`, or without that column a row. Of the
    documents, ordered by the CRC-32 of their names, a seventh (at least one) is for validation and a seventh for test.
    What different documents have in common (the phrases of the law) is not taken out.
    Raises ValueError where there are fewer than three documents, or nothing that can be read.
    """
    if path is None:
        named = {split: {"grammar": words[0]} for split, words in template_prose().items()}
        return _numbered("the built-in grammar", named)
    documents = {name: split_words(text) for name, text in _documents(Path(path))}
    documents = {name: words for name, words in documents.items() if words}
    if len(documents) < len(SPLITS):
        raise ValueError(
            f"{path} holds {len(documents)} documents with words; filling needs at least 3, one a split: give a "
            "folder with more files"
        )
    order = sorted(documents, key=lambda name: (zlib.crc32(name.encode()), name))
    held = max(1, len(order) // 7)
    parts = {"test": order[:held], "validation": order[held : 2 * held], "train": order[2 * held :]}
    return _numbered(
        Path(path).resolve().name,
        {split: {name: documents[name] for name in parts[split]} for split in SPLITS},
    )


def _numbered(source: str, named: dict[str, dict[str, list[str]]]) -> Filling:
    ranks: dict[str, int] = {}
    known = 0
    for split in SPLITS:
        counts = Counter(word for words in named[split].values() for word in words)
        # Ties by the alphabet: the order of a dict would hang on the order of the files.
        for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            ranks.setdefault(word, len(ranks))
        known = known or len(ranks)
    streams = {
        split: np.fromiter((ranks[word] for words in named[split].values() for word in words), np.int32)
        for split in SPLITS
    }
    return Filling(source, ranks, known, streams, {split: tuple(named[split]) for split in SPLITS})


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a file or folder of {', '.join(_SUFFIXES)}")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.name.endswith(_SUFFIXES)]
    if not files:
        raise ValueError(f"{path} holds no {', '.join(_SUFFIXES)}; give a file or folder that does")
    for file in files:
        if file.name.endswith(".parquet"):
            yield from _rows(file)
        elif file.name.endswith(".xz"):
            yield file.name, _decoded(file, lzma.decompress(file.read_bytes()))
        else:
            yield file.name, _decoded(file, file.read_bytes())


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ValueError(f"{file} is not UTF-8 (byte {problem.start}); save it as UTF-8") from None


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    import polars

    table = polars.read_parquet(file)
    if "text" not in table.columns:
        raise ValueError(f"{file} has the columns {table.columns}; filling is read from one named text")
    if "ticker" in table.columns:
        table = table.group_by("ticker", maintain_order=True).agg(polars.col("text").str.join("\n"))
        yield from zip(table["ticker"].cast(polars.String), table["text"], strict=True)
    else:
        yield from ((f"{file.name}:{row}", text) for row, text in enumerate(table["text"]))

"""Text files of word vectors: every layout that the field uses, and what is no such file is named by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from storyline.data import DataError, packed, read_word_vectors, word2vec_text

ROWS = {"the": [0.5, -1.0, 2.0], "cat": [1e-3, 0.0, 3.25], "sat": [1.0, 2.0, -3.0]}


def lines(rows: dict[str, list[float]] = ROWS) -> list[str]:
    return [f"{word} {' '.join(map(str, row))}" for word, row in rows.items()]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(lines()),  # GloVe
        "3 3\n" + "\n".join(lines()) + "\n",  # word2vec
        "3 3\r\n" + " \r\n".join(lines()) + " \r\n",  # fastText ends lines with a blank
    ],
    ids=["glove", "word2vec", "fasttext"],
)
@pytest.mark.parametrize("name", ["vectors.txt", "vectors.vec.gz"])
def test_every_layout_gives_the_same_table(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    table = read_word_vectors(path)
    assert (table.words, table.duplicates) == (tuple(ROWS), 0)
    np.testing.assert_array_equal(table.vectors, np.array(list(ROWS.values()), dtype=np.float32))
    assert read_word_vectors(path, limit=2).words == ("the", "cat")


def test_words_with_blanks_and_other_signs(tmp_path: Path) -> None:
    words = [". . .", "at name@domain.com", "\N{NO-BREAK SPACE}", "\x85", "ни", "3.5", "</s>"]
    path = tmp_path / "vectors.txt"
    path.write_bytes("\n".join(lines({word: [1.0, 2.0, 3.0] for word in words})).encode())
    assert read_word_vectors(path).words == tuple(words)


def test_of_a_word_that_comes_twice_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("4 1\na 1\nb 2\na 3\na 4\n", encoding="utf-8")
    table = read_word_vectors(path)
    assert (table.words, table.vectors.tolist(), table.duplicates) == (("a", "b"), [[1.0], [2.0]], 2)


@pytest.mark.parametrize("compress", [False, True])
def test_written_and_read_are_the_same_bits(tmp_path: Path, compress: bool) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * 10.0 ** np.arange(-3, 4)
    vectors = vectors.astype(np.float32)
    path = tmp_path / ("vectors.txt.gz" if compress else "vectors.txt")
    words = [f"word{number} ." for number in range(50)]
    path.write_bytes(packed(word2vec_text(words, vectors), compress=compress))
    table = read_word_vectors(path)
    assert table.words == tuple(words)
    np.testing.assert_array_equal(table.vectors, vectors)


@pytest.mark.parametrize("word", ["a\nb", "", " a", "at 5"])
def test_words_that_could_not_be_read_again_are_not_written(word: str) -> None:
    with pytest.raises(DataError, match="cannot be told from its numbers"):
        list(word2vec_text([word], np.zeros((1, 2), dtype=np.float32)))


def test_gensim_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim, an extra, is not installed")
    vectors = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    words = [f"word{number}" for number in range(20)]
    path = tmp_path / "ours.txt"
    path.write_bytes(packed(word2vec_text(words, vectors), compress=False))
    theirs = models.KeyedVectors.load_word2vec_format(str(path))
    assert theirs.index_to_key == words
    np.testing.assert_array_equal(theirs.vectors, vectors)
    theirs.save_word2vec_format(str(tmp_path / "theirs.txt"))
    np.testing.assert_array_equal(read_word_vectors(tmp_path / "theirs.txt").vectors, vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1 2\nc 1\n", r"line 3: 1 numbers behind 'c', where the others have 2"),
        ("a 1 2\nb 1 2\nc 1 2 3\n", r"line 3: 3 numbers behind 'c', where the others have 2"),
        ("2 2\na 1 2\nb 1 2 3\n", r"line 3: 3 numbers behind 'b', where the others have 2"),
        ("a 1\nb 1 2\nc 1 2\n", r"line 1: 1 numbers behind 'a', where the others have 2"),
        ("a 1 2\nb 1 x\n", r"line 2: 'x' is no finite number; every word has 2"),
        ("a 1 2\nb nan 2\n", r"line 2: 'nan' is no finite number"),
        ("a 1 2\nb 1 1e39\n", r"line 2: '1e39' is no finite number"),
        ("a 1 2\n\nb 1 2\n", r"line 2: a blank line; remove it"),
        ("2 2\na 1 2\n 1 2\n", r"line 3: no word before the numbers"),
        ("3 2\na 1 2\nb 1 2\n", r"says in line 1 that it holds 3 vectors, and holds 2; is it cut off\?"),
        ("1 2\na 1 2\nb 1 2\n", r"says in line 1 that it holds 1 vectors, and holds 2"),
        ("once\nupon\na time\n", r"line 1: 'once' is no word with numbers behind it"),
        ("a\t1\t2\nb\t1\t2\n", r"line 1: .* is no word with numbers behind it, parted by single blanks"),
    ],
)
def test_what_is_no_vector_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as refusal:
        read_word_vectors(path)
    assert str(path) in str(refusal.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vectors.bin").write_bytes(b"1 2\na \x00\x00")
    with pytest.raises(DataError, match="binary format"):
        read_word_vectors(tmp_path / "vectors.bin")
    (tmp_path / "broken.txt").write_bytes(b"a 1 2\n\xff 1 2\n")
    with pytest.raises(DataError, match="line 2: byte 0xff"):
        read_word_vectors(tmp_path / "broken.txt")
    with pytest.raises(DataError, match="limit is 0"):
        read_word_vectors(tmp_path / "broken.txt", limit=0)
    with pytest.raises(DataError, match="does not exist"):
        read_word_vectors(tmp_path / "nowhere.txt")

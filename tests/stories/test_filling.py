"""The filling: read from files, cut by document, known by its most frequent words."""

from __future__ import annotations

import lzma
import time
from pathlib import Path

import numpy as np
import pytest

from storyline.stories import Filling, Story, read_filling
from storyline.stories.filling import split_words


def runs(filling: Filling, split: str) -> set[tuple[int, ...]]:
    """The runs of eight words of a split's beginning."""
    stream = filling.streams[split]
    return set(map(tuple, np.lib.stride_tricks.sliding_window_view(stream, 8)[:20_000].tolist()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine short novels, whose words are their own."""
    for number in range(9):
        text = f"The tale of n{number}. " * 3 + " ".join(f"w{number}x{word}," for word in range(50))
        (tmp_path / f"novel{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "SOURCE.md").write_text("not prose", encoding="utf-8")
    return tmp_path


def test_words_are_lower_case_and_marks_stand_alone() -> None:
    assert split_words("“Don't,” said Mr. Holmes—twice.") == [
        "“", "don't", ",", "”", "said", "mr", ".", "holmes", "—", "twice", ".",
    ]  # fmt: skip


def test_documents_are_shared_out_whole(folder: Path) -> None:
    filling = read_filling(str(folder))
    documents = filling.documents
    assert [len(documents[split]) for split in ("train", "validation", "test")] == [7, 1, 1]
    assert {name for names in documents.values() for name in names} == {f"novel{n}.txt" for n in range(9)}
    words = {split: {f"n{name[5]}" for name in documents[split]} for split in documents}
    spelt = dict(enumerate(filling.ranks))
    for split, own in words.items():
        heard = {spelt[rank] for rank in filling.streams[split].tolist()}
        assert {word for word in heard if word in {f"n{n}" for n in range(9)}} == own
    # A vocabulary is learnt from the training part alone.
    held_out = set(words["validation"] | words["test"])
    assert not held_out & set(Story("cake", filling=str(folder)).vocabulary)


def test_the_same_text_in_every_format(folder: Path, tmp_path: Path) -> None:
    import polars

    whole = read_filling(str(folder))
    packed, table = tmp_path / "packed", tmp_path / "table.parquet"
    packed.mkdir()
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    for name, text in texts.items():
        (packed / f"{name}.xz").write_bytes(lzma.compress(text.encode()))
    # Two rows of one company are one document.
    halves = [(name, text[:90], text[90:]) for name, text in texts.items()]
    rows = [(name, part) for name, *parts in halves for part in parts]
    polars.DataFrame(rows, schema=["ticker", "text"], orient="row").write_parquet(table)
    for path in (packed, table):
        filling = read_filling(str(path))
        assert sum(map(len, filling.streams.values())) >= sum(map(len, whole.streams.values()))
        assert sum(map(len, filling.documents.values())) == 9
    assert set(read_filling(str(packed)).ranks) == set(whole.ranks)


def test_the_grammar_fills_without_a_file() -> None:
    filling = read_filling(None)
    assert filling.source == "the built-in grammar"
    spelt = list(filling.ranks)
    train, validation, test = (
        set(" ".join(spelt[rank] for rank in filling.streams[split].tolist()).split(" . "))
        for split in ("train", "validation", "test")
    )
    assert len(train) > 5_000
    assert not train & test
    assert not train & validation
    assert Story("party").source == "the built-in grammar"
    assert Story("copy").source == "no filling"


def test_seldom_words_and_names_are_unknown(folder: Path) -> None:
    few = Story("party", 200, vocabulary_size=3, filling=str(folder))
    assert few.vocabulary[:2] == ("<pad>", "<unk>")
    examples = few.batch(2, "test")
    # Of the novels' words only "," and the two most frequent of "the", "tale", "of" are known.
    assert examples.words(0).count("<unk>") > 50
    grown = Story("party", 200, filling=str(folder))
    assert len(grown.vocabulary) > len(few.vocabulary)
    # "meridian" in the filling would be a name nobody meant.
    (folder / "novel0.txt").write_text("meridian said party " * 30, encoding="utf-8")
    again = folder / "again"
    again.mkdir()
    for number in range(3):
        (again / f"{number}.txt").write_text("meridian sat down " * 30, encoding="utf-8")
    told = Story("john-he", 30, filling=str(again)).batch(5)
    assert "meridian" in told.vocabulary
    party = Story("party", 90, 1, filling=str(again)).batch(20)
    for row in range(20):
        assert party.words(row).count("meridian") <= 1


def test_an_excerpt_goes_on_from_the_end_to_the_beginning(folder: Path) -> None:
    story = Story("cake", 700, 1, filling=str(folder))
    examples = story.batch(3, "test")
    assert (examples.lengths > 700).all()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder / "nowhere", "does not exist; give a file or folder"),
        (
            lambda folder: (folder / "empty.txt").write_text("", encoding="utf-8") and None,
            "holds 0 documents",
        ),
        (lambda folder: (folder / "latin.txt").write_bytes("é".encode("latin-1")) and None, "is not UTF-8"),
        (lambda folder: (folder / "notes.md").write_text("x", encoding="utf-8") and None, "holds no .txt"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, write: object, message: str) -> None:
    path = write(tmp_path) or tmp_path  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        read_filling(str(path))


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    import polars

    polars.DataFrame({"body": ["a"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"has the columns \['body'\]"):
        read_filling(str(tmp_path / "t.parquet"))


@pytest.mark.data
def test_novels_and_filings_are_shared_out_and_drawn_in_milliseconds(data_folder: Path) -> None:
    for name in ("english_novels", "sec_10k_mda"):
        filling = read_filling(str(data_folder / name))
        documents = [set(names) for names in filling.documents.values()]
        assert not documents[0] & documents[1]
        assert not documents[0] & documents[2]
        assert not documents[1] & documents[2]
        assert all(len(stream) > 50_000 for stream in filling.streams.values())
        if name == "english_novels":  # companies have their lawyers' phrases in common
            assert not runs(filling, "train") & runs(filling, "test")
        story = Story("filing", 50_000, filling=str(data_folder / name))
        assert len(story.vocabulary) < 2_200
        story.batch(1, "test")
        began = time.process_time()
        story.batch(10, "test")
        assert time.process_time() - began < 0.5  # that is 50 ms each; it takes less than one

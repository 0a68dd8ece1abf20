"""CoNLL-U and CoNLL: sentences, and each refusal with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from storyline.data import DataError, read_table, tagged, token_lists

CONLLU = """# sent_id = 1
# text = don't go
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t$\t_\t0\troot\t_\t_
2\tNew York\tNew York\tPROPN\tNNP\t_\t1\tflat\t_\t_
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def test_conllu(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conllu", CONLLU)
    table = read_table(path)
    tokens, tags = tagged(table)
    assert tokens == [["do", "n't", "go"], ["#", "New York"]]
    assert tags == [["AUX", "PART", "VERB"], ["SYM", "PROPN"]]
    assert [table.where(row) for row in (0, 1)] == [f"{path}, line 4", f"{path}, line 10"]
    assert tagged(read_table(path, tags="xpos"))[1] == [["VBP", "RB", "VB"], ["$", "NNP"]]
    assert tagged(read_table(path, tags=8))[1] == [["aux", "advmod", "root"], ["root", "flat"]]
    with pytest.raises(DataError, match=r"no field 'upo' \(did you mean 'upos'\?\); its fields are id, form"):
        read_table(path, tags="upo")


def test_carriage_returns(tmp_path: Path) -> None:
    assert tagged(read_table(write(tmp_path, "a.conllu", CONLLU.replace("\n", "\r\n"))))[0][1] == [
        "#",
        "New York",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_",
            "3\tgo\tVERB",
            "line 7: 3 fields parted by tabs, and CoNLL-U has 10",
        ),
        ("3\tgo", "three\tgo", "line 7, column 'id': 'three' is no token number"),
        ("3\tgo", "3\t", "line 7: the token is empty"),
        ("VERB", " ", "line 7: the tag is empty"),
    ],
)
def test_bad_conllu(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path, "a.conllu", CONLLU.replace(old, new)))
    assert said in str(caught.value)


def test_conll(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n \n\n# SYM O O\n"
    path = write(tmp_path, "a.conll", text)
    assert tagged(read_table(path)) == ([["EU", "rejects"], ["#"]], [["B-ORG", "O"], ["O"]])
    assert tagged(read_table(path, tags=2))[1] == [["NNP", "VBZ"], ["SYM"]]
    assert read_table(path).where(1) == f"{path}, line 7"
    with pytest.raises(DataError, match="has 4 columns; column 5 is not one"):
        read_table(path, tags=5)
    with pytest.raises(DataError, match="give the number of the tag column"):
        read_table(path, tags="upos")


def test_conll_with_tabs_keeps_blanks_in_tokens(tmp_path: Path) -> None:
    assert tagged(read_table(write(tmp_path, "a.conll", "New York\tB\nis\tO\n"))) == (
        [["New York", "is"]],
        [["B", "O"]],
    )


def test_conll_without_tags(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.conll", "one\ntwo\n\nthree\n"))
    assert token_lists(table) == [["one", "two"], ["three"]]
    with pytest.raises(DataError, match="has no column 'tags'"):
        tagged(table)


def test_bad_conll(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.conll, line 3: 3 fields, and the first line has 2"):
        read_table(write(tmp_path, "a.conll", "a X\n\nb X O\n"))
    with pytest.raises(DataError, match=r"a\.conll, line 2: the tag is empty"):
        read_table(write(tmp_path, "a.conll", "a\tX\nb\t\n"))
    with pytest.raises(DataError, match="holds no sentence"):
        read_table(write(tmp_path, "a.conll", "\n\n"))
    with pytest.raises(DataError, match="holds no sentence"):
        read_table(write(tmp_path, "a.conllu", "# only a comment\n"))

"""CSV and TSV against the csv module and by hand; each malformed row refused with its line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyline.data import DataError, Table, labels, read_table, texts
from storyline.data.delimited import read_delimited


def read(data: str | bytes, **options: bool) -> Table:
    data = data.encode() if isinstance(data, str) else data
    settings_ = {"quoting": True, "header": True} | options
    return read_delimited("a.csv", data, separator=",", **settings_)


def refusal(data: str | bytes, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        read(data, **options)
    message = str(caught.value)
    assert message.startswith("a.csv")
    assert "\n" not in message
    return message


def test_values_stay_text() -> None:
    table = read("code,when,empty\n007,2024-01-01,\n1e3,true,NA\n")
    assert table.frame.rows() == [("007", "2024-01-01", ""), ("1e3", "true", "NA")]
    assert labels(table, "code") == ["007", "1e3"]


def test_carriage_returns_and_a_missing_last_newline() -> None:
    assert read("a,b\r\n1,2\r\n3,4").frame.rows() == [("1", "2"), ("3", "4")]
    assert read('a,b\r\n"1",2\r\n3,"4"\r\n').frame.rows() == [("1", "2"), ("3", "4")]


def test_bom(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf"text",label\nx,1\n')
    assert read_table(tmp_path / "a.csv").frame.columns == ["text", "label"]


def test_lines_are_true_also_after_quoted_newlines_and_blank_lines() -> None:
    table = read('a,b\n"one\ntwo",1\n\nx,2\n"y\r\n\r\nz",3\nw,4\n')
    assert table.frame["a"].to_list() == ["one\ntwo", "x", "y\r\n\r\nz", "w"]
    assert [table.where(row) for row in range(4)] == [f"a.csv, line {line}" for line in (2, 5, 6, 9)]
    assert table.where(3, "b") == "a.csv, line 9, column 'b'"


def test_a_blank_line_in_a_file_of_one_column_is_an_empty_field() -> None:
    table = read("text\none\n\ntwo\n\n\n")
    assert table.frame["text"].to_list() == ["one", "", "two"]
    with pytest.raises(DataError, match=r"a\.csv, line 3, column 'text': an empty text"):
        texts(table, "text")


def test_without_header() -> None:
    table = read("x,1\ny,2\n", header=False)
    assert table.frame.columns == ["column_1", "column_2"]
    assert table.frame.rows() == [("x", "1"), ("y", "2")]
    assert table.where(1) == "a.csv, line 2"
    assert read('"x",1\ny,2\n', header=False).where(1) == "a.csv, line 2"


def test_tsv_takes_quotes_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"open\t1\n5" pipe\t2\r\n')
    assert read_table(tmp_path / "a.tsv").frame.rows() == [('"open', "1"), ('5" pipe', "2")]


def test_separator(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text;label\n"a;b";1,5\n')
    assert read_table(tmp_path / "a.csv", separator=";").frame.rows() == [("a;b", "1,5")]
    with pytest.raises(DataError, match=r"line 2: .*parted by semicolons: give the separator ';'"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text;label\na;1\n")
    with pytest.raises(DataError, match=r"has no column 'label'.*give the separator ';'"):
        read_table(tmp_path / "b.csv").column("label")
    (tmp_path / "b.csv").write_text("text;label\na, b;1\n")
    with pytest.raises(DataError, match=r"line 2: 2 fields.*give the separator ';'"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(DataError, match="one ASCII character"):
        read_table(tmp_path / "a.csv", separator="::")


def test_a_quote_inside_a_field_without_quotes_is_a_letter() -> None:
    table = read('size,name\n5" pipe,x\nthe "big" one,y\n"a ""b""",z\n')
    assert table.frame["size"].to_list() == ['5" pipe', 'the "big" one', 'a "b"']
    assert table.where(2) == "a.csv, line 4"


def test_fields_longer_than_the_csv_module_allows_by_itself() -> None:
    long = "word " * 100_000
    before = csv.field_size_limit()
    assert read(f'text,label\n"{long}",1\n').frame["text"].to_list() == [long]
    assert "line 2: 1 field" in refusal('a,"b"\n1\n')
    # Whoever reads CSV beside us keeps their own.
    assert csv.field_size_limit() == before == 131_072


@pytest.mark.parametrize("data", ["a,b\n", "a,b", "a,b\r\n\r\n", '"a",b\n'])
def test_header_only(data: str) -> None:
    assert "a header and no rows" in refusal(data)


def test_blank_file() -> None:
    assert "nothing but blank lines" in refusal("\n\r\n")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("row", "found"),
    [("1", "1 field,"), ("1,2", "2 fields,"), ("1,2,3,4", "4 fields,"), (",,,,", "5 fields,")],
)
def test_rows_of_another_width(quote: str, row: str, found: str) -> None:
    message = refusal(f"a,b,c\n{quote}1{quote},2,3\n{row}\n4,5,6\n")
    assert message.startswith(f"a.csv, line 3: {found} and the header has 3;")


def test_too_many_here_and_too_few_there_do_not_cancel_out() -> None:
    assert "line 3: 1 field" in refusal("a,b\n1,2\n3\n4,5,6\n")
    assert "line 2: 3 fields" in refusal("a,b\n4,5,6\n3\n")
    assert "line 2: 1 field, and the first line has 2" in refusal("a,b\n1\n", header=False)


def test_duplicate_and_nameless_columns() -> None:
    assert "line 1: columns 1 and 3 are both named 'a'" in refusal("a,b,a\n1,2,3\n")
    assert "line 1: column 2 of the header has no name" in refusal("a,,c\n1,2,3\n")


def test_unclosed_quote_says_where_it_opened() -> None:
    assert "line 3: a quote is opened here and never closed" in refusal('a,b\n1,2\n3,"four\n5,6\n')
    assert "line 4: a quote is opened here and never closed" in refusal('a,b\n1,2\n"x\ny","four\n5,6\n')
    assert "line 1: a quote is opened here and never closed" in refusal('a,"b\n1,2\n')
    message = refusal('a,b\n1,"two\n3,four\n5,"six"\n')
    assert "line 2: the quote opened here is closed on line 4 in the middle of a field" in message
    assert "line 2: the quote opened here is closed on line 2" in refusal('a,b\n"He said "hi" to me",1\n')


@pytest.mark.parametrize("quote", ["", '"'])
def test_bare_carriage_return(quote: str) -> None:
    assert "line 3: a bare carriage return" in refusal(f"a,b\n{quote}1{quote},2\n3\r4,5\n")


FIELDS = st.text(st.sampled_from('a" ,\n\réx\t;'), max_size=6) | st.text(max_size=8).filter(
    lambda t: "\0" not in t
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=6)
    ),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=[["", ""], ["a", '"']], quoting=csv.QUOTE_ALL, end="\r\n")
def test_what_the_csv_module_writes_comes_back(rows: list[list[str]], quoting: int, end: str) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # the module's writer leaves a bare carriage return without quotes
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=quoting, lineterminator=end)
    columns = [f"column {number}" for number in range(len(rows[0]))]
    writer.writerow(columns)
    starts = []
    for row in rows:
        starts.append(written.getvalue().count("\n") + 1)
        writer.writerow(row)
    table = read(written.getvalue())
    assert table.frame.columns == columns
    assert [list(row) for row in table.frame.rows()] == rows
    assert [table.where(row) for row in range(len(rows))] == [f"a.csv, line {line}" for line in starts]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('ab",\n\r'), max_size=30))
@example('\r\r\na"')
def test_any_input_is_read_as_the_csv_module_does_or_refused(data: str) -> None:
    try:
        table = read(data)
    except DataError:
        return
    lines = io.StringIO(data.rstrip("\r\n"), newline="\n")
    records = list(csv.reader(lines, strict=True))
    while not records[0]:
        del records[0]
    header, *rows = records
    assert table.frame.columns == header
    kept = [row or [""] for row in rows if row or len(header) == 1]
    assert [list(row) for row in table.frame.rows()] == kept

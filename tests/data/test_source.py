"""Bytes and text: what is read, and each refusal with file, line and byte."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from storyline.data import DataError, read_table, read_text
from storyline.data.source import checked_bytes


def refusal(path: object) -> str:
    with pytest.raises(DataError) as caught:
        read_text(str(path))
    message = str(caught.value)
    assert "\n" not in message
    return message


class Files(SimpleHTTPRequestHandler):
    """The files of a folder, whole."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Objects(Files):
    """The files of a folder as an object store gives them: by ranges of bytes."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        data = path.read_bytes() if path.is_file() else b""
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(data) - int(last))
        part = data[start : int(last) + 1] if first else data[start:]
        self.send_response(206 if path.is_file() else 404)
        self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", self.date_time_string(0))
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def serving(kind: type[Files], folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serving(Files, tmp_path) as address:
        yield address


def test_text_loses_its_bom_and_its_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(tmp_path / "a.txt") == "one\ntwo\nthree\n"


def test_gzip_and_any_suffix(tmp_path: Path) -> None:
    (tmp_path / "story.md.gz").write_bytes(gzip.compress(b"once ") + gzip.compress("upon é".encode()))
    assert read_text(tmp_path / "story.md.gz") == "once upon é"


def test_file_uri(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("text")
    assert read_text((tmp_path / "a b.txt").as_uri()) == "text"


def test_http(tmp_path: Path, server: str) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\nhello,1\n"))
    table = read_table(f"{server}/a.csv.gz?version=2")
    assert table.frame.rows() == [("hello", "1")]
    assert table.where(0) == f"{server}/a.csv.gz?version=2, line 2"
    assert "the server answers 404" in refusal(f"{server}/b.csv")


def test_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box").mkdir()
    frame = pl.DataFrame({"text": ["hello", "é"], "label": ["1", "2"]})
    frame.write_parquet(tmp_path / "box" / "a.parquet")
    frame.write_csv(tmp_path / "box" / "a.csv")
    (tmp_path / "box" / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "box" / "a.csv").read_bytes()))
    frame.write_ndjson(tmp_path / "box" / "a.jsonl")
    with serving(Objects, tmp_path) as address:
        for name, value in {
            "ENDPOINT_URL": address,
            "ALLOW_HTTP": "true",
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        for name in ("a.csv", "b.csv.gz", "a.jsonl", "a.parquet"):
            assert read_table(f"s3://box/{name}").frame.equals(frame), name
        for name in ("no.csv", "no.parquet"):
            with pytest.raises(
                DataError, match=rf"^s3://box/{name} cannot be read: .*not found.*check the addr"
            ):
                read_table(f"s3://box/{name}")
    with pytest.raises(DataError, match="store it unpacked"):
        read_table("s3://box/a.parquet.gz")


def test_blanks_and_letters_in_an_address(tmp_path: Path, server: str) -> None:
    (tmp_path / "a é.txt").write_text("text")
    assert read_text(f"{server}/a é.txt") == read_text(f"{server}/a%20%C3%A9.txt") == "text"


@pytest.mark.parametrize("address", ["http://[::1/a.csv", "http://host:port/a.csv", "http:///a.csv"])
def test_addresses_that_are_none(address: str) -> None:
    assert refusal(address).startswith(f"{address} ")
    with pytest.raises(DataError, match="check"):
        read_table(address)


def test_an_address_that_cannot_be_read() -> None:
    assert "http://127.0.0.1:9/a.txt cannot be fetched" in refusal("http://127.0.0.1:9/a.txt")
    assert "nowhere://a/b.txt cannot be read" in refusal("nowhere://a/b.txt")


def test_missing_file_offers_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("a\n1\n")
    assert "question.csv does not exist (did you mean 'questions.csv'?)" in refusal(tmp_path / "question.csv")
    assert "does not exist; check the path" in refusal(tmp_path / "no" / "such")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder; give one of the files in it" in refusal(tmp_path)


def test_a_file_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert "cannot be read: " in refusal(tmp_path / "a" / "b.txt")


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b" \n\r\n"])
def test_empty(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert "a.txt" in refusal(tmp_path / "a.txt")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
    assert "a.txt.gz" in refusal(tmp_path / "a.txt.gz")


def test_broken_utf8_says_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é\n".encode() + b"caf\xe9 au lait\n")
    message = refusal(tmp_path / "a.txt")
    assert "a.txt, line 2: byte 0xe9 (byte 7 of the file) is not UTF-8" in message
    assert "iconv" in message


@pytest.mark.parametrize("place", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 5, (1 << 21) + 9])
@pytest.mark.parametrize("broken", [b"\xff", b"\xe9a", b"\xf0\x9f\x98"])
def test_the_block_border_hides_no_broken_byte(place: int, broken: bytes) -> None:
    before = b"\n" * (place % 2) + b"x" * (place - place % 2)
    with pytest.raises(DataError, match=rf"line {1 + place % 2}: .*\(byte {place + 1} of the file\)"):
        checked_bytes("a", before + broken)


def test_a_character_across_the_block_border_is_whole() -> None:
    data = b"x" * ((1 << 20) - 1) + "😀".encode() + b"y" * 10
    assert checked_bytes("a", data) == data


def test_nul_byte_says_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nth\0ree\n")
    assert "a.txt, line 3: NUL byte (byte 11 of the file)" in refusal(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (gzip.compress(b"x"), "end its name in .gz"),
        (b"PAR1....", "end its name in .parquet"),
        (b"PK\x03\x04....", "export the sheet as CSV"),
        ("text".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    ],
    # Named, because a gzip header holds the time: two workers that collect a second apart would differ.
    ids=["gzip", "parquet", "zip", "utf-16"],
)
def test_other_formats_are_named(tmp_path: Path, data: bytes, advice: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert advice in refusal(tmp_path / "a.txt")


def test_broken_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(b"a long story, told once and again, in many words" * 9)
    path = tmp_path / "a.txt.gz"
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        message = refusal(path)
        assert "truncated gzip" in message or "not a sound gzip file" in message
    path.write_bytes(b"plain text")
    assert "is not a sound gzip file" in refusal(path)
    altered = bytearray(whole)
    altered[-6] ^= 1
    path.write_bytes(altered)
    assert "is not a sound gzip file" in refusal(path)

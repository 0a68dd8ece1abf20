"""The page: opens offline, says what it was given, and is written whole."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from storyline.memory.report.page import Commands, Picture, Points, ReportTable, Section, page, write_page

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects texts, tags and attributes, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


EVIL = '<script>alert("1")</script> & <b>'


def test_every_text_is_escaped_and_nothing_is_fetched() -> None:
    picture = Picture("<svg viewBox='0 0 1 1'></svg>", EVIL)
    table = ReportTable(EVIL, (EVIL, EVIL), ((EVIL, EVIL), ("<i>", "<i>")))
    html = page(
        EVIL,
        EVIL,
        [Section(EVIL, [EVIL, table, picture, picture, Points((EVIL,)), Commands((EVIL, EVIL))])],
        EVIL,
    )
    found = read(html)
    assert "script" not in found.tags
    assert "b" not in found.tags
    assert "i" not in found.tags
    # title, heading, lead, heading, paragraph, caption, 2 heads, 2 cells, 2 pictures, list, 2 commands, footer
    assert found.text.count(EVIL) == 16
    assert not {"src", "href"} & {name for name, _ in found.attributes}
    assert "default-src 'none'" in html
    assert "@import" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_blocks_keep_their_order_and_pictures_stand_together() -> None:
    picture = Picture("<svg></svg>", "caption")
    html = page("t", "l", [Section("h", ["first", picture, picture, "second", picture])])
    order = [html.index(text) for text in ("<h1>t", "l</p>", "<h2>h", "<p>first", "<svg>", "<p>second")]
    assert order == sorted(order)
    assert html.count('<div class="pictures">') == 2
    assert "<footer>" not in html


def test_a_number_stays_with_its_unit() -> None:
    html = page("t", "within 1 % of", [Section("h", [ReportTable("c", ("a", "b"), (("x", "12 steps"),))])])
    assert "within 1\u00a0% of" in html
    assert "<td>12\u00a0steps</td>" in html


def test_refusals() -> None:
    with pytest.raises(ValueError, match="has 1 cells; the head has 2 columns"):
        page("t", "l", [Section("h", [ReportTable("c", ("a", "b"), (("x",),))])])
    with pytest.raises(ValueError, match="does not start with <svg"):
        page("t", "l", [Section("h", [Picture("<img>", "c")])])


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_page(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_page(target, "new" * 100_000 + "\ud800")
    assert target.read_text() == "old"
    write_page(str(target), "ä\n")
    assert target.read_bytes() == "ä\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "absent" / "report.html", "x")

"""A report as one html file that opens anywhere: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import NamedTemporaryFile


@dataclass(frozen=True)
class ReportTable:
    """A table with its caption: column heads and rows of text; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """An ``<svg>`` element (of figures.to_svg) with the caption that says what it shows; `wide`: it stands alone."""

    svg: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Points:
    """Sentences as a list, one below the other."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Commands:
    """Lines to type in a terminal, one below the other."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it: paragraphs (str), lists, tables, pictures, commands, in this order."""

    heading: str
    blocks: Sequence[str | Points | ReportTable | Picture | Commands]


def page(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """One self-contained html document; all text is escaped, only the svg of a Picture is taken as it is.

    Args:
        title: heading and title of the document.
        lead: the finding in one sentence of words, set large.
        sections: in order.
        footer: how the numbers were made (machine, commit, seed, command); no time is added to it.

    Raises:
        ValueError: a row of a table has another number of cells than its head, or a picture is no svg.
    """
    body = "\n".join(_section(section) for section in sections)
    foot = f"<footer>{escape(footer)}</footer>" if footer else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # nothing may be fetched, whatever a caption or a picture says
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{_text(lead)}</p>\n'
        f"{body}\n{foot}\n</main>\n</body>\n</html>\n"
    )


def write_page(path: str | os.PathLike[str], html: str) -> None:
    """Write the page whole: a reader finds the old file or the new one, never a part.

    Raises:
        OSError: the folder is missing, not writable or full; nothing is left behind.
    """
    target = Path(path)
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _section(section: Section) -> str:
    parts: list[str] = []
    pictures: list[str] = []
    for block in [*section.blocks, None]:
        if isinstance(block, Picture) and not block.wide:
            pictures.append(_picture(block))
            continue
        if pictures:  # neighbours stand side by side where the page is wide
            parts.append(f'<div class="pictures">{"".join(pictures)}</div>')
            pictures = []
        if isinstance(block, Picture):
            parts.append(_picture(block))
        elif isinstance(block, Points):
            parts.append(f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in block.lines)}</ul>")
        elif isinstance(block, str):
            parts.append(f"<p>{_text(block)}</p>")
        elif isinstance(block, ReportTable):
            parts.append(_table(block))
        elif isinstance(block, Commands):
            parts.append(f"<pre><code>{escape(chr(10).join(block.lines))}</code></pre>")
    return f"<section>\n<h2>{_text(section.heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _picture(picture: Picture) -> str:
    if not picture.svg.startswith("<svg"):
        raise ValueError("a Picture's svg does not start with <svg; make it with figures.to_svg")
    mark = ' class="wide-figure"' if picture.wide else ""
    return f"<figure{mark}>{picture.svg}<figcaption>{_text(picture.caption)}</figcaption></figure>"


def _table(table: ReportTable) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"row {row!r} has {len(row)} cells; the head has {len(table.columns)} columns")
    head = "".join(f'<th scope="col">{_cell(name)}</th>' for name in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{_text(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _text(text: str) -> str:
    """Escaped; a number is not torn from its percent sign at the end of a line."""
    return escape(text.replace(" %", "\u00a0%"))


def _cell(text: str) -> str:
    """Escaped; a short cell stays on one line: on a phone the table scrolls instead."""
    return escape(text.replace(" ", "\u00a0")) if len(text) <= 12 else _text(text)


_CSS = """
:root{color-scheme:light dark;--ink:#1b1c1d;--soft:#5b6067;--line:#d9dce0;--page:#f6f7f8;--card:#fff}
@media (prefers-color-scheme:dark){
:root{--ink:#e8eaed;--soft:#a3a9b1;--line:#3a3f46;--page:#15171a;--card:#1e2125}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","DejaVu Sans",Arial,sans-serif}
main{max-width:68rem;margin:0 auto;padding:1.25rem 1rem 3rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .6rem}
p,li{max-width:44rem;margin:.5rem 0}
ul{padding-left:1.2rem}li{margin:.25rem 0}
figure.wide-figure{max-width:60rem;margin:.8rem 0}
.lead{font-size:1.25rem;
line-height:1.4;margin-bottom:1rem;padding-left:.9rem;border-left:.25rem solid #0072b2}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.95rem;min-width:min(100%,30rem)}
caption{text-align:left;color:var(--soft);font-size:.9rem;padding-bottom:.4rem;caption-side:top}
th,td{padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600}
tbody th{font-weight:400;min-width:7rem}
.pictures{display:grid;
grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem;margin:.8rem 0}
figure{margin:0;padding:.75rem;
background:var(--card);border:1px solid var(--line);border-radius:.5rem;max-width:38rem}
figure svg{display:block;width:100%;height:auto;color:var(--ink)}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.5rem}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;overflow-x:auto}
footer{color:var(--soft);
font-size:.85rem;margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.6rem}
@media (max-width:30rem){
th,td{padding-right:.6rem;font-size:.88rem}figure{padding:.4rem}.lead{font-size:1.12rem}}
@media print{:root{--ink:#000;--soft:#333;--line:#bbb;--page:#fff;--card:#fff}main{padding:0;max-width:none}
figure,table,pre{break-inside:avoid}h2{break-after:avoid}
.pictures{grid-template-columns:1fr 1fr}body{font-size:11pt}}
"""

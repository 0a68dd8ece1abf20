"""Bytes and text from a path or URI, refused with file, line and byte where they are not what they should be."""

from __future__ import annotations

import codecs
import difflib
import gzip
import http.client
import string
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import polars as pl

_BLOCK = 1 << 20
# What a file really is when its first bytes say so, and what its owner should do about it.
_SIGNATURES = (
    (b"\x1f\x8b", "is compressed with gzip; end its name in .gz, or unpack it where it ends so already"),
    (
        b"PAR1",
        "is a Parquet file, which holds a table and no text; end its name in .parquet, and name its column of text",
    ),
    (b"PK\x03\x04", "is a zip archive or an Excel workbook; unpack it, or export the sheet as CSV (UTF-8)"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
)


class DataError(ValueError):
    """Data that cannot be used, in one sentence: file, line, column, what was wanted, what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'label'?)"`, or nothing where no known name is near."""
    candidates = list(known)
    folded = {candidate.lower(): candidate for candidate in reversed(candidates)}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a local file, of `file://`, `http(s)://`, or of any URI that polars reads; `.gz` unpacked.

    Raises DataError for a file that is missing, unreadable, empty, a folder, or a broken `.gz`.
    """
    name = str(path)
    scheme = scheme_of(name)
    if scheme in ("", "file"):
        data = _local_bytes(name, Path(unquote(urlsplit(name).path)) if scheme else Path(name))
    elif scheme in ("http", "https"):
        data = _web_bytes(name)
    else:
        return _cloud_bytes(name)
    if urlsplit(name).path.lower().endswith(".gz") if scheme else name.lower().endswith(".gz"):
        data = _unpacked(name, data)
    if not data:
        raise DataError(f"{name} is empty; give a file that holds data")
    return data


def scheme_of(name: str) -> str:
    """`"https"` or `"s3"` of a URI, `""` of a local path; DataError for an address that is none."""
    try:
        return urlsplit(name).scheme if "://" in name else ""
    except ValueError as error:
        raise DataError(f"{name} is no address that can be read: {error}; check it") from None


def is_stored(name: str) -> bool:
    """Whether a name is in an object store (s3, gs, az, hf), of which polars has the clients."""
    return scheme_of(name) not in ("", "file", "http", "https")


def unreadable(name: str, error: Exception) -> DataError:
    """What polars says about an address, in one sentence."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{name} cannot be read: {reason}; check the address")


def read_text(path: str | Path) -> str:
    """The text of a plain UTF-8 file (any suffix; `.gz` unpacked); a BOM is dropped, line ends become LF.

    Raises DataError as `read_bytes` does, for broken UTF-8 and NUL bytes with their line, and for blank files.
    """
    text = checked_bytes(str(path), read_bytes(path)).decode("utf-8")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{path} holds nothing but blanks; give a file that holds text")
    return text


def checked_bytes(name: str, data: bytes) -> bytes:
    """`data` without its BOM, after one pass that refuses NUL bytes and broken UTF-8 with their line and byte."""
    for signature, advice in _SIGNATURES:
        if data.startswith(signature):
            raise DataError(f"{name} {advice}")
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    nul = data.find(b"\0")
    if nul >= 0:
        raise DataError(
            f"{name}, line {line_of(data, nul)}: NUL byte (byte {nul + 1} of the file); "
            "a text file holds none, so remove it, or save the file again as UTF-8"
        )
    broken = _broken_byte(data)
    if broken is not None:
        raise DataError(
            f"{name}, line {line_of(data, broken)}: byte 0x{data[broken]:02x} (byte {broken + 1} of the file) "
            f"is not UTF-8; save the file as UTF-8, for instance with `iconv -f WINDOWS-1252 -t UTF-8`"
        )
    return data[start:] if start else data


def line_of(data: bytes, position: int) -> int:
    """The line, counted from 1, on which byte `position` stands."""
    return data.count(b"\n", 0, position) + 1


def _broken_byte(data: bytes) -> int | None:
    # Block by block: the decoded text of a large file may take four times its bytes.
    if data.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    for start in range(0, len(data), _BLOCK):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + _BLOCK], final=start + _BLOCK >= len(data))
        except UnicodeDecodeError as error:
            return start - held + error.start
    return None


def _local_bytes(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{name} does not exist{nearest(path.name, beside)}; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{name} is a folder; give one of the files in it") from None
    except PermissionError:
        raise DataError(f"{name} may not be read by you; change its permissions") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read: {error}") from None


def _web_bytes(name: str) -> bytes:
    # Blanks and letters beyond ASCII, as a browser's address line takes them; what is quoted already stays.
    address = quote(name, safe=string.punctuation)
    try:
        with urllib.request.urlopen(address) as answer:
            data: bytes = answer.read()
    except urllib.error.HTTPError as error:
        code = error.code
        error.close()
        raise DataError(f"{name} cannot be fetched: the server answers {code}; check the address") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(f"{name} cannot be fetched: {error}; check the address and the network") from None
    return data


def _cloud_bytes(name: str) -> bytes:
    # polars unpacks .gz by itself.
    try:
        lines = pl.read_lines(name).to_series()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise unreadable(name, error) from None
    if not lines.len():
        raise DataError(f"{name} is empty; give a file that holds data")
    return "\n".join(lines.to_list()).encode()


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except EOFError:
        raise DataError(
            f"{name} is cut off before its end (truncated gzip); copy or download it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is not a sound gzip file ({error}); copy or download it again") from None

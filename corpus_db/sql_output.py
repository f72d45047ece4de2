"""Write the result of a query as an aligned table, CSV or JSON; what a terminal would obey is shown escaped."""

import csv
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, islice
from typing import Any, TextIO

from corpus_db.errors import UserError
from corpus_db.sql import Result

CELL_WIDTH = 60
_SAMPLE = 200  # rows that set a table's column widths; later ones may stand out of line
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: str) -> str:
    """`text` with every control, bidi and lone surrogate character as a visible escape."""
    return _UNSHOWN.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), text)


def write(result: Result, form: str, stream: TextIO, cell_width: int = CELL_WIDTH) -> int:
    """Write all rows as table, csv or json; the number of rows."""
    if form == "table":
        return _write_table(result, stream, cell_width)
    writer = {"csv": _write_csv, "json": _write_json}.get(form)
    if writer is None:
        raise UserError(f"{form}: no such format; one of table, csv, json")
    return writer(result, stream)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; a number too fine for a float stays text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _cell(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, str):
        return plain
    return json.dumps(plain, ensure_ascii=False)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _UnixLines:
    """Ends csv's rows with a newline alone; csv itself, told to, would leave a carriage return in a cell unquoted."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, row: str) -> int:
        return self.stream.write(row.removesuffix("\r\n") + "\n")


def _write_csv(result: Result, stream: TextIO) -> int:
    writer = csv.writer(_UnixLines(stream))
    writer.writerow(map(_encodable, result.columns))
    count = 0
    for row in result.rows:
        writer.writerow([_encodable(_cell(value)) for value in row])
        count += 1
    return count


def _write_json(result: Result, stream: TextIO) -> int:
    count = 0
    names = unique_names(result.columns)
    stream.write("[")
    for count, row in enumerate(result.rows, 1):
        stream.write(",\n " if count > 1 else "\n ")
        # ASCII where text has no UTF-8 form (a lone surrogate), so that any stream takes it
        stream.write(_json(dict(zip(names, map(_plain, row), strict=True))))
    stream.write("\n]\n" if count else "]\n")
    return count


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _UNSHOWN.search(text) else text


def unique_names(columns: Sequence[str]) -> list[str]:
    """Column names with a number behind a repeated one, so that an object keeps both."""
    names: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in names:
            name, number = f"{column}_{number}", number + 1
        names.append(name)
    return names


def _width(text: str) -> int:
    """Columns of a terminal: wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    text = shown(text[: 4 * width])
    if _width(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _width(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _write_table(result: Result, stream: TextIO, cell_width: int) -> int:
    def cells(row: Iterable[Any]) -> list[str]:
        return [_cut(_cell(value), cell_width) for value in row]

    sample = list(islice(result.rows, _SAMPLE))
    head = cells(result.columns)
    first = [cells(row) for row in sample]
    widths = [max(map(_width, column)) for column in zip(head, *first, strict=True)]
    aligns = [_align(sample, at) for at in range(len(head))]

    def put(row: Sequence[str]) -> None:
        padded = (align(cell, width) for align, cell, width in zip(aligns, row, widths, strict=True))
        stream.write("  ".join(padded).rstrip() + "\n")

    if head:
        put(head)
        put(["-" * width for width in widths])
    count = 0
    for row in chain(first, map(cells, result.rows)):
        put(row)
        count += 1
    return count


def _align(sample: Sequence[Sequence[Any]], at: int) -> Callable[[str, int], str]:
    numbers = [row[at] for row in sample if row[at] is not None]
    if numbers and all(isinstance(value, int | float | Decimal) for value in numbers):
        return lambda cell, width: " " * (width - _width(cell)) + cell
    return lambda cell, width: cell + " " * (width - _width(cell))

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.errors import UserError
from corpus_db.sql import Result
from corpus_db.sql_output import shown, write

VALUES = st.one_of(
    st.none(), st.integers(), st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False)
)


def written(form: str, columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    stream = io.StringIO()
    assert write(Result(columns, iter(rows)), form, stream) == len(rows)
    return stream.getvalue()


def test_a_table_is_aligned_numbers_to_the_right() -> None:
    assert written("table", ["name", "n"], [("CT", 5), ("MR", 120), (None, 1)]) == (
        "name    n\n----  ---\nCT      5\nMR    120\n        1\n"
    )


def test_a_table_cuts_long_cells_and_shows_controls_escaped() -> None:
    text = written("table", ["a"], [("x" * 500,), ("\x1b[31mred\nline\u202e",)])
    assert max(map(len, text.splitlines())) == 60
    assert "…" in text and "\\u001b[31mred\\nline\\u202e" in text and "\x1b" not in text


def test_wide_and_combining_characters_keep_the_columns() -> None:
    lines = written("table", ["a", "b"], [("日本", "x"), ("e\u0301", "y")]).splitlines()
    assert lines[2:] == ["日本  x", "e\u0301     y"]


@given(st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_no_row_of_a_table_breaks_its_line(rows: list[tuple[Any, ...]]) -> None:
    text = written("table", ["a", "b"], rows)
    assert len(text.split("\n")) == len(rows) + 3
    assert all(character == "\n" or character >= " " for character in text)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_csv_and_json_give_back_what_went_in(rows: list[tuple[Any, ...]]) -> None:
    assert json.loads(written("json", ["a", "b"], rows)) == [{"a": one, "b": two} for one, two in rows]
    again = list(csv.reader(io.StringIO(written("csv", ["a", "b"], rows), newline="")))
    assert again == [["a", "b"], *([_as_csv(value) for value in row] for row in rows)]


def _as_csv(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def test_null_times_numbers_and_documents_have_a_plain_form() -> None:
    row = (None, datetime(2026, 1, 2, 3, 4), Decimal("2.50"), Decimal(7), {"a": [1, None]}, b"\x00\xff")
    names = ["n", "t", "d", "i", "j", "b"]
    assert written("csv", names, [row]).splitlines()[1] == ',2026-01-02 03:04:00,2.5,7,"{""a"": [1, null]}",00ff'
    assert json.loads(written("json", names, [row])) == [
        {"n": None, "t": "2026-01-02 03:04:00", "d": 2.5, "i": 7, "j": {"a": [1, None]}, "b": "00ff"}
    ]


def test_json_keeps_columns_of_one_name_and_no_rows_are_an_empty_array() -> None:
    assert json.loads(written("json", ["a", "a", "a"], [(1, 2, 3)])) == [{"a": 1, "a_2": 2, "a_3": 3}]
    assert json.loads(written("json", ["a"], [])) == []


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_lone_surrogate_can_be_written_to_any_stream(form: str) -> None:
    written(form, ["a"], [("x\ud800y",)]).encode("utf-8")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="table, csv, json"):
        write(Result(["a"], iter(())), "xml", io.StringIO())


def test_shown_leaves_plain_text_alone() -> None:
    assert shown("β <5mm café") == "β <5mm café"


def test_json_stays_json_where_a_number_is_infinite() -> None:
    stream = io.StringIO()
    write(Result(["a"], iter([(float("inf"),), (float("nan"),)])), "json", stream)
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail) == [{"a": "inf"}, {"a": "nan"}]

"""What the tests of imports share."""

from typing import Any

from sqlalchemy import Engine, text


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """What a statement answers."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]

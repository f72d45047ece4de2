"""What the pages share: the corpus that is shown, and whether and how verdicts may be written."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Engine

from corpus_db import db
from corpus_db.browse.pictures import Pictures

T = TypeVar("T")
REVIEW = "/-/review"  # the one address that writes, and only under `review`
DATABASE = "corpus"  # the database's name in addresses, whatever the file is called


@dataclass
class Writing:
    """What `review` has and `browse` has not."""

    engine: Engine
    by: str = ""  # who reviews, once the command or a form has said it
    said: list[str] = field(default_factory=list)  # what was recorded last, for the next page
    done: int = 0  # pairs decided on since the start
    token: str = field(default_factory=secrets.token_urlsafe)  # a form that lacks it is not one of ours
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Corpus:
    """One database for reading, its images, and what may be written."""

    def __init__(self, address: str, writing: Writing | None = None):
        self.engine = db.open_readonly(address)
        self.name = db.shown(self.engine.url)
        self.path = Path(self.name).resolve() if db.is_sqlite(self.engine) else None  # of an SQLite file
        self.pictures = Pictures(self.engine, db.image_root(self.engine.url))
        self.writing = writing

    @property
    def nav(self) -> dict[str, Any]:
        """What every page's links need to know: where to review, and whether there are tables to see."""
        return {"review": REVIEW if self.writing else None, "tables": self.path is not None}

    async def ask(self, question: Callable[..., T], *values: Any) -> T:
        """`question(engine, *values)` in a thread, so that other pages do not wait for it."""
        return await asyncio.to_thread(question, self.engine, *values)


def pair_address(pair_id: str) -> str:
    """Where a pair's page is."""
    return f"/pair/{quote(pair_id, safe=':')}"


def row_address(table: str, key: str) -> str:
    """Where Datasette shows a row of a table with a key of one column."""
    from datasette.utils import tilde_encode

    return f"/{DATABASE}/{table}/{tilde_encode(key)}"

"""Find captions by their words, the same ones on both engines: FTS5 on SQLite, a tsvector on PostgreSQL.

A caption's words are its runs of letters and digits, without case and diacritics; nothing is stemmed, no word is
too common to count. On PostgreSQL the first 100,000 characters of a caption are indexed.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, TextClause, text

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.sql_output import shown
from corpus_db.version import resolve

MOST_TERMS, LONGEST_WORD, FARTHEST = 100, 200, 50
_TERM = re.compile(r'"([^"]*)"?(\*?)|(\S+?)(\*?)(?=\s|$)')
_NEAR = re.compile(r"near/(?:(\d{1,3})|\S*)", re.IGNORECASE | re.ASCII)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Term:
    """Words that stand side by side; of the last one, with `prefix`, only the beginning."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True)
class Near:
    """Two terms in either order, with at most `between` words between them."""

    one: Term
    other: Term
    between: int


@dataclass(frozen=True)
class Found:
    """How many pairs of the current version hold the words, and the first of them by pair_id."""

    total: int
    pairs: list[dict[str, Any]]  # pair_id, modality, plane, caption


def search(engine: Engine, words: str, limit: int = 20) -> Found:
    """The pairs of the current version whose captions hold `words` (see `matching`), at most `limit` of them."""
    statement = text("SELECT pair_id, modality, plane, caption FROM rgc WHERE pair_id = :pair_id")
    with engine.connect() as connection:
        ids = connection.execute(matching(engine, words)).scalars().all()
        if not ids:
            resolve(connection, None)  # that there is no version yet is another thing than no such caption
        first = sorted(ids)[:limit]  # here, since the engines sort text differently
        rows = [connection.execute(statement, {"pair_id": pair_id}).mappings().one() for pair_id in first]
    return Found(len(ids), [dict(row) for row in rows])


def matching(engine: Engine, words: str) -> TextClause:
    """A SELECT of the pair_id of each caption of the current version that holds all of `words`.

    `words` are plain words; "words in quotes" stand side by side; effus* is any word that begins so; A NEAR/3 B is A
    and B in either order with at most three words between. Raises UserError where there is no word to look for.
    """
    if db.is_sqlite(engine):
        condition, query = "caption_fts MATCH :words", fts5(words)
    else:
        condition, query = "tsv @@ CAST(:words AS tsquery)", " & ".join(map(_tsquery, parse(words)))
    return text(f"SELECT pair_id FROM caption_fts WHERE {condition}").bindparams(words=query)


def fts5(words: str) -> str:
    """What `caption_fts MATCH` wants on SQLite for words that `matching` takes."""
    return " AND ".join(map(_fts5, parse(words)))


def parse(words: str) -> Sequence[Term | Near]:
    """The terms that all have to be there."""
    terms: list[Term | Near] = []
    before: Term | None = None
    between: int | None = None
    for found in _TERM.finditer(words):
        if near := _NEAR.fullmatch(found[0]):
            between = int(near[1] or FARTHEST + 1)
            if before is None or between > FARTHEST:
                raise UserError(f"{shown(found[0])}: write A NEAR/n B, n at most {FARTHEST}")
            continue
        term = Term(tuple(_folded(found[1] or found[3] or "")), bool(found[2] or found[4]))
        if not term.words:
            continue
        if between is None:
            terms.append(term)
        elif before is not None:
            terms.append(_near(before, term, between))
        before, between = term, None
    if between is not None or not terms:
        raise UserError(f"{shown(words[:80])}: no word to look for{' after NEAR' if between is not None else ''}")
    if len(terms) > MOST_TERMS:
        raise UserError(f"more than {MOST_TERMS} words to look for; give fewer")
    return terms


def _near(one: Term, other: Term, between: int) -> Near:
    if one.prefix or other.prefix or set(one.words) & set(other.words):
        raise UserError("NEAR stands between two whole words or phrases that share no word")
    return Near(one, other, between)


def _folded(words: str) -> list[str]:
    """Words as the two indices hold them."""
    plain = "".join(c for c in unicodedata.normalize("NFD", words) if not unicodedata.combining(c))
    found: list[str] = _WORD.findall(plain.lower())
    if any(len(word) > LONGEST_WORD for word in found):
        raise UserError(f"{shown(words[:40])}...: a word of more than {LONGEST_WORD} letters; give a shorter one")
    return found


def _fts5(term: Term | Near) -> str:
    if isinstance(term, Near):
        return f"NEAR({_fts5(term.one)} {_fts5(term.other)}, {term.between})"
    return f'"{" ".join(term.words)}"{" *" if term.prefix else ""}'


def _tsquery(term: Term | Near) -> str:
    if isinstance(term, Near):
        sides = _tsquery(term.one), _tsquery(term.other)
        steps = range(1, term.between + 2)
        return f"({' | '.join(f'{a} <{step}> {b}' for a, b in (sides, sides[::-1]) for step in steps)})"
    side_by_side = " <-> ".join(f"'{word}'" for word in term.words)
    return f"({side_by_side}{':*' if term.prefix else ''})"


def render_search(found: Found) -> list[str]:
    """What was found, a pair a line, for people."""
    if not found.total:
        return ["no caption holds these words"]
    lines = [f"{row['pair_id']}  {row['modality'] or '-'}  {shown(row['caption'])}" for row in found.pairs]
    rest = found.total - len(lines)
    return [*lines, f"... and {rest} more (--limit)"] if rest else lines

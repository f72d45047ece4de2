"""The first page: what the corpus holds, and the ways into it."""

from typing import Any

from sqlalchemy import Engine, text

from corpus_db.browse.corpus import Corpus
from corpus_db.page import render
from corpus_db.questions import Question
from corpus_db.review import queue


async def page(corpus: Corpus, saved: list[tuple[str, Question]]) -> str:
    """As HTML."""
    found = await corpus.ask(_counts)
    waiting = len(await corpus.ask(queue)) if corpus.writing else None
    queries = [(f"/corpus/{name}", question.title) for name, question in saved]
    told = {"name": corpus.name, "waiting": waiting, "queries": queries, **found}
    return render("home.html", "corpus_db.browse", **told, **corpus.nav)


def _counts(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:

        def rows(statement: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(text(statement))]

        modalities = rows("SELECT modality, count(*) FROM rgc GROUP BY modality ORDER BY 2 DESC, 1")
        pairs = sum(count for _, count in modalities)
        dropped = rows("SELECT drop_reason, count(*) FROM pair WHERE status = 'dropped' GROUP BY 1 ORDER BY 2 DESC, 1")
        current = rows("SELECT version.name FROM version JOIN current_version ON version_id = version.id")
        cases = rows("SELECT count(DISTINCT case_id) FROM rgc")[0][0]
    return {
        "version": current[0][0] if current else None,
        "numbers": [
            ("pairs", pairs, "in the current version"),
            ("cases", cases, ""),
            ("dropped", sum(n for _, n in dropped), "by the last build"),
        ],
        "modalities": [(name, count, count / pairs) for name, count in modalities],
        "dropped": dropped,
    }

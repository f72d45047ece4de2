"""The questions of docs/query.md, each with the SQL that answers it: what the tests prove and `browse` offers."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "query.md"
_VERSIONS = "## Questions about versions"
_BLOCK = re.compile(r"^```(sql|text)\n(.*?)\n```\n", re.S | re.M)


@dataclass(frozen=True)
class Question:
    """One question of the page."""

    title: str
    about_versions: bool
    statements: dict[str, str]  # by engine
    answer: str
    at: int  # where in the page its answer stands or belongs
    length: int  # of the answer as it stands there


def questions(page: str) -> Iterator[Question]:
    """All of them, in order: a heading of three marks, one statement or one for each engine, the answer."""
    heads = [*re.finditer(r"^### (.+)$", page, re.M), None]
    for head, following in itertools.pairwise(heads):
        assert head is not None
        section = page[head.end() : following.start() if following else len(page)]
        blocks = list(_BLOCK.finditer(section))
        statements = [block[2] for block in blocks if block[1] == "sql"]
        answers = [block for block in blocks if block[1] == "text"]
        told = answers[0] if answers else None
        end = head.end() + (told.start() if told else blocks[-1].end() + 1)
        by_engine = {"sqlite": statements[0], "postgresql": statements[-1]}
        about_versions = head.start() > page.index(_VERSIONS)
        yield Question(head[1], about_versions, by_engine, told[2] if told else "", end, len(told[0]) if told else 0)

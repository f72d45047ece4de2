"""A corpus with pictures and hostile texts, and the pages over it, asked without a server."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from corpus_db import db
from corpus_db.browse.corpus import Corpus, Writing
from corpus_db.browse.server import make
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS, Pictures

EVIL = "<script>document.title = 'taken'</script> Axial CT <img src=x onerror=alert(1)> of the liver."
DATABASE = "corpus.db"


def fill_hostile(engine: Engine) -> Pictures:
    """Six pairs of two cases: captions with markup, a conflict, a short caption, a pair dropped for its modality."""
    filler = Pictures(engine, db.image_root(engine.url))
    first = [
        filler.pictured("evil", EVIL, case="<b>c1</b>"),
        filler.pictured("clash", "MRI of the liver shows a mass.", case="<b>c1</b>"),
        filler.pictured("plain", "Axial  CT shows an effusion of the liver.", case="<b>c1</b>"),
    ]
    second = [
        filler.pictured("short", "Liver mass.", case="c2"),
        filler.pictured("strange#1", "A mass of the liver.", case="c2", modality="XX - Unheard of"),
        filler.pictured("photo", "A specimen.", case="c2", modality="GR - Gross photograph"),
    ]
    for listed in (*first, *second):
        filler.picture(listed["key"])
    filler.case("<b>c1</b>", *first, title="A title <i>with</i> markup", credit="<u>somebody</u>")
    filler.case("c2", *second)
    build(engine, READERS)
    return filler


class Pages:
    """The pages of one database."""

    def __init__(self, address: str, writing: Writing | None = None):
        self.corpus = Corpus(address, writing)
        self.datasette = make(self.corpus)

    def ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        """The answer to one request; redirects are not followed."""
        request = getattr(self.datasette.client, method.lower())
        return asyncio.run(request(path, follow_redirects=False, **options))


def hostile(folder: Path) -> Engine:
    """`fill_hostile` in an SQLite file of this folder."""
    engine = db.create(folder / DATABASE)
    fill_hostile(engine)
    return engine

"""The commands for people who look: browse, review. Each parses, calls, prints."""

from typing import Any

import click

from corpus_db.console import chosen, database_option, json_option, notice, reading, show, writing
from corpus_db.errors import UserError

_PORT = 8001


def _served(command: Any) -> Any:
    """--port and --open."""
    port: dict[str, Any] = {"type": click.IntRange(0, 65535), "default": _PORT, "show_default": True}
    command = click.option("--open", "opening", is_flag=True, help="Open it in the web browser as well.")(command)
    return click.option("--port", **port, help="On 127.0.0.1; 0: one that is free.")(command)


def _serve(corpus: Any, port: int, opening: bool, page: str = "") -> None:
    from corpus_db.browse import server

    def ready(address: str) -> None:
        notice(f"{corpus.name}: {address}{page}  (this machine alone; Ctrl-C ends it)")
        if opening:
            click.launch(address + page)

    server.serve(corpus, port, ready)


def _labels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r}: write FIELD=VALUE, as plane=axial")
    return tuple((value.partition("=")[0].strip(), value.partition("=")[2].strip()) for value in values)


@click.command()
@_served
@database_option
def browse(port: int, opening: bool, db: str | None) -> None:
    """Look at a corpus in the web browser: tables, thumbnails, search, each pair's whole story; nothing can be written.

    \b
    Example:
      python cli.py browse --open
    """
    from corpus_db.browse import server

    server.check_extra()
    from corpus_db.browse.corpus import Corpus

    corpus = Corpus(chosen(db, "built", "crawled"))
    if corpus.path is None:
        raise UserError(
            f"{corpus.name}: only SQLite can be browsed; make a copy: python cli.py export --format sqlite -o DIR, "
            "then: python cli.py browse --db DIR/corpus.db (review works on PostgreSQL as well)"
        )
    _serve(corpus, port, opening)


@click.command()
@click.argument("key", metavar="[PAIR]", required=False)
@click.option("--list", "listing", is_flag=True, help="Print the queue and end.")
@click.option("--keep", is_flag=True, help="It stays, whatever a rule judged of its caption or modality.")
@click.option("--drop", is_flag=True, help="It leaves the corpus.")
@click.option("--relabel", multiple=True, callback=_labels, metavar="FIELD=VALUE", help="modality, plane, region, ...")
@click.option("--edit", metavar="TEXT", help="The caption that it shall have.")
@click.option("--withdraw", is_flag=True, help="Take back all that was decided about it.")
@click.option("--by", metavar="WHO", help="For the record: who decides.")
@click.option("--why", metavar="TEXT", help="For the record: on what ground.")
@_served
@json_option
@database_option
def review(
    key: str | None,
    listing: bool,
    by: str | None,
    why: str | None,
    port: int,
    opening: bool,
    as_json: bool,
    db: str | None,
    **wanted: Any,
) -> None:
    """Decide what rules could not: keep, drop, relabel or edit a pair; the next build obeys.

    Without PAIR it serves the queue as a page, beside all that browse shows.

    \b
    Example:
      python cli.py review --by "A. Reader"
      python cli.py review --list
      python cli.py review synpic54610 --relabel plane=coronal --by "A. Reader" --why "the image shows it"
    """
    decisions = _decisions(**wanted)
    if key is None and decisions:
        raise click.UsageError("name the PAIR that this is about")
    if key is not None:
        if listing or not decisions:
            raise click.UsageError(f"{key}: say what becomes of it: --keep, --drop, --relabel, --edit or --withdraw")
        if not (by or "").strip():
            raise click.BadParameter("say who decides: it stays for the record", param_hint="--by")
        _record(key, decisions, by or "", why, as_json, db)
    elif listing or as_json:
        _list(as_json, db)
    else:
        _review_page(by or "", port, opening, db)


def _list(as_json: bool, db: str | None) -> None:
    from corpus_db import review as reviewing

    with reading(db) as engine:
        items = reviewing.queue(engine)
    show(items if not as_json else reviewing.plain(items), as_json, reviewing.render_queue)


def _record(key: str, decisions: list[Any], by: str, why: str | None, as_json: bool, db: str | None) -> None:
    from corpus_db import review as reviewing

    with writing(db) as engine:
        pair_id, notes = reviewing.decide(engine, key, decisions, by, why)
    told = {"pair_id": pair_id, "decisions": [vars(decision) for decision in decisions], "notes": notes}
    lines = [f"{pair_id}: {_recorded(decisions)}; the next build obeys: python cli.py build", *notes]
    show(told if as_json else lines, as_json, lambda found: found)


def _recorded(decisions: list[Any]) -> str:
    if any(decision.decision == "withdraw" for decision in decisions):
        return "what was decided is withdrawn"
    return f"{len(decisions)} decision{'s' * (len(decisions) != 1)} recorded"


def _review_page(by: str, port: int, opening: bool, db: str | None) -> None:
    from corpus_db.browse import server

    server.check_extra()
    from corpus_db.browse.corpus import Corpus, Writing
    from corpus_db.db import open_existing

    address = chosen(db, "built", "crawled")
    engine = open_existing(address)  # an older schema is brought up here, before any page asks
    _serve(Corpus(address, Writing(engine, by.strip())), port, opening, "-/review")


def _decisions(
    keep: bool, drop: bool, relabel: tuple[tuple[str, str], ...], edit: str | None, withdraw: bool
) -> list[Any]:
    from corpus_db import verdicts

    if keep + drop + withdraw > 1 or (withdraw and (relabel or edit is not None)):
        raise click.UsageError("--keep, --drop and --withdraw exclude each other; nothing goes with --withdraw")
    found = [verdicts.Decision(verdicts.RELABEL, field, value) for field, value in relabel]
    found += [verdicts.Decision(verdicts.EDIT, None, edit)] if edit is not None else []
    stays = {verdicts.KEEP: keep, verdicts.DROP: drop, verdicts.WITHDRAW: withdraw}
    return found + [verdicts.Decision(name) for name, said in stays.items() if said]


COMMANDS = (browse, review)

"""The commands for people who look: browse, review. Each parses, calls, prints."""

from typing import Any

import click

from corpus_db.console import database_option, json_option, reading, show, writing


def _labels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r}: write FIELD=VALUE, as plane=axial")
    return tuple((value.partition("=")[0].strip(), value.partition("=")[2].strip()) for value in values)


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
@json_option
@database_option
def review(
    key: str | None, listing: bool, by: str | None, why: str | None, as_json: bool, db: str | None, **wanted: Any
) -> None:
    """Decide what rules could not: keep, drop, relabel or edit a pair; the next build obeys.

    \b
    Example:
      python cli.py review --list
      python cli.py review synpic54610 --relabel plane=coronal --by "A. Reader" --why "the image shows it"
    """
    from corpus_db import review as reviewing

    decisions = _decisions(**wanted)
    if key is None:
        if decisions:
            raise click.UsageError("name the PAIR that this is about")
        with reading(db) as engine:
            items = reviewing.queue(engine)
        show(items if not as_json else reviewing.plain(items), as_json, reviewing.render_queue)
        return
    if listing or not decisions:
        raise click.UsageError(f"{key}: say what becomes of it: --keep, --drop, --relabel, --edit or --withdraw")
    if not (by or "").strip():
        raise click.BadParameter("say who decides: it stays for the record", param_hint="--by")
    with writing(db) as engine:
        pair_id, notes = reviewing.decide(engine, key, decisions, by or "", why)
    told = {"pair_id": pair_id, "decisions": [vars(decision) for decision in decisions], "notes": notes}
    lines = [f"{pair_id}: {len(decisions)} decided; the next build obeys: python cli.py build", *notes]
    show(told if as_json else lines, as_json, lambda found: found)


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


COMMANDS = (review,)

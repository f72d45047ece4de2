"""The ledger and its passes, on both engines."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from corpus_db import db
from corpus_db.ledger import Child, Ledger, Outcome, Task
from corpus_db.passes import finish, give_up, open_pass, open_source
from corpus_db.store import StoredImage

ROOTS = [Child("/list?a", "list")]
PICTURE = StoredImage("ab" * 32, 10, 4, 4, "L", "PNG", "images/ab/ab/x.png")


@pytest.fixture
def engine(fresh_db: str) -> Iterator[Engine]:
    made = db.create(fresh_db)
    yield made
    made.dispose()


def begin(engine: Engine, retry_failed: bool = False) -> tuple[Ledger, str]:
    source_id, _ = open_source(engine, "local", "medpix", "http://127.0.0.1:1")
    crawl_id, state = open_pass(engine, source_id, ROOTS, retry_failed)
    return Ledger(engine, source_id, crawl_id, lambda kind, old, new: [("c1", "caption", str(old), str(new))]), state


def ok(task: Task, sha256: str = "1", **more: object) -> Outcome:
    return Outcome(task, "ok", None, 200, 1, sha256, **more)  # type: ignore[arg-type]


def run(ledger: Ledger, outcomes: dict[str, Outcome | None], children: dict[str, list[Child]]) -> list[str]:
    """Work off all that is due; gives the order in which it was."""
    order = []
    while tasks := ledger.due(1):
        task = tasks[0]
        order.append(task.path)
        outcome = outcomes.get(task.path) or ok(task)
        outcome.task, outcome.children = task, children.get(task.path, ())
        ledger.record([outcome])
    return order


CHILDREN = {
    "/list?a": [Child("/case/2", "encounter"), Child("/case/1", "encounter")],
    "/case/1": [Child("/topic/1", "topic"), Child("/i/1.jpg", "image"), Child("/i/9.jpg", "image", last=True)],
    "/case/2": [
        Child("/i/2.jpg", "image"),
        Child("/i/3.jpg", "image", "deleted"),
        Child("file:///x#4", "image", "other_scheme"),
    ],
}


def asked(engine: Engine, statement: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_a_case_is_finished_before_the_next_and_another_cases_image_waits_to_the_end(engine: Engine) -> None:
    ledger, state = begin(engine)
    order = run(ledger, {}, CHILDREN)
    assert state == "first"
    assert order == ["/list?a", "/case/1", "/i/1.jpg", "/topic/1", "/case/2", "/i/2.jpg", "/i/9.jpg"]
    statement = "SELECT status, reason FROM \"fetch\" WHERE path IN ('/i/3.jpg', 'file:///x#4') ORDER BY path"
    assert sorted(asked(engine, statement)) == [("refused", "other_scheme"), ("skipped", "deleted")]


def test_an_unfinished_pass_goes_on_and_a_finished_one_is_followed_by_a_new_one(engine: Engine) -> None:
    ledger, _ = begin(engine)
    ledger.record([ok(ledger.due(1)[0], children=CHILDREN["/list?a"])])
    finish(ledger)
    ledger, state = begin(engine)
    assert state == "resumed" and [task.path for task in ledger.due(9)] == ["/case/1", "/case/2"]
    run(ledger, {}, CHILDREN)
    summary = finish(ledger)
    assert summary["changes"]["encounter"] == {"new": 2} and summary["statuses"]["skipped"] == 1
    ledger, state = begin(engine)
    assert state == "again" and [task.path for task in ledger.due(9)] == ["/list?a"]
    run(ledger, {}, CHILDREN)
    assert finish(ledger)["changes"]["encounter"] == {"unchanged": 2}


def test_a_limit_hands_out_the_first_cases_by_path_and_leaves_the_pass_open(engine: Engine) -> None:
    ledger, _ = begin(engine)
    ledger.record([ok(ledger.due(1)[0], children=CHILDREN["/list?a"])])
    assert ledger.limit_cases(1) == 2
    assert "/case/2" not in run(ledger, {}, CHILDREN)
    finish(ledger)
    ledger, state = begin(engine)
    assert state == "resumed" and [task.path for task in ledger.due(9)] == ["/case/2"]
    give_up(ledger)
    assert begin(engine)[1] == "again"


def test_a_retry_asks_for_transient_failures_alone(engine: Engine) -> None:
    ledger, _ = begin(engine)
    failed = {
        path: Outcome(ledger.due(1)[0], "failed", reason)
        for path, reason in (("/i/1.jpg", "timeout"), ("/i/2.jpg", "not_an_image"))
    }
    run(ledger, dict(failed), CHILDREN)
    finish(ledger)
    ledger, state = begin(engine, retry_failed=True)
    assert state == "retry" and [task.path for task in ledger.due(9)] == ["/i/1.jpg"]


def test_what_changed_upstream_is_drift_and_the_earlier_record_stays(engine: Engine) -> None:
    for sha256, body, image in (
        ("1", {"v": 1}, PICTURE.sha256),
        ("2", {"v": 2}, PICTURE.sha256),
        ("2", {"v": 2}, "cd" * 32),
    ):
        ledger, _ = begin(engine)
        case = ok(Task(0, "", "encounter", "", 0, None, None, None, 0), sha256, key="c1", body=json.dumps(body))
        picture = StoredImage(image, 10, 4, 4, "L", "PNG", f"images/{image[:2]}/x.png")
        bytes_ = ok(case.task, image, image=picture, upstream_name="1")
        run(ledger, {"/case/1": case, "/i/1.jpg": bytes_}, CHILDREN)
        finish(ledger)
    assert asked(engine, "SELECT count(*) FROM raw_record") == [(2,)]
    assert asked(engine, "SELECT count(*) FROM image_ref") == [(2,)]
    drift = asked(engine, "SELECT path, field, before FROM drift ORDER BY id")
    assert drift == [("/case/1", "caption", "{'v': 1}"), ("/i/1.jpg", "bytes", PICTURE.sha256)]


def test_a_gone_case_takes_its_images_and_what_is_listed_no_more_is_gone(engine: Engine) -> None:
    ledger, _ = begin(engine)
    run(ledger, {}, CHILDREN)
    finish(ledger)
    ledger, _ = begin(engine)
    gone = Outcome(ledger.due(1)[0], "gone", "http_404", 404)
    run(ledger, {"/case/1": gone}, CHILDREN | {"/case/1": [], "/case/2": []})
    finish(ledger)
    rows: dict[str, str] = dict(asked(engine, "SELECT path, reason FROM \"fetch\" WHERE status = 'gone'"))
    assert rows == {
        "/case/1": "http_404",
        "/i/1.jpg": "case_gone",
        "/i/9.jpg": "case_gone",
        "/i/2.jpg": "no_longer_listed",
        "/i/3.jpg": "no_longer_listed",
        "file:///x#4": "no_longer_listed",
    }


def test_what_is_put_back_is_due_again(engine: Engine) -> None:
    ledger, _ = begin(engine)
    task = ledger.due(1)[0]
    ledger.record([Outcome(task, "failed", "timeout")])
    assert not ledger.due(1)
    ledger.put_back([task.id])
    assert ledger.due(1)[0].path == task.path

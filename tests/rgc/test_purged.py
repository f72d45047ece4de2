"""What was taken down stays out of what a crawl takes in."""

import json

from corpus_db.ledger import Task
from rgc.classify import Answer, classify
from rgc.site import Site

SITE = Site("local", "http://127.0.0.1:1")
CASE = {
    "encounterID": "c",
    "imageList": [
        {"imageID": "gone", "imageURL": "/images/full/synpic1.jpg", "imageCaption": "Words about somebody."},
        {"imageID": "kept", "imageURL": "/images/full/synpic2.jpg", "imageCaption": "A mass."},
    ],
}


def outcome(withdrawn: set[str]):
    task = Task(1, "/rest/encounter.json?encounterID=c", "encounter", "pending", 0, None, None, None, 1)
    return classify(Answer(task, 200, {}, json.dumps(CASE).encode(), 1), SITE, withdrawn)


def test_an_image_that_was_taken_down_is_neither_kept_in_the_answer_nor_asked_for() -> None:
    found = outcome({"gone"})
    assert [child.path for child in found.children] == ["/images/full/synpic2.jpg"]
    assert "somebody" not in (found.body or "") and json.loads(found.body or "")["purged"] is True
    assert found.sha256 == outcome(set()).sha256  # of the bytes received, so that a later pass sees no change


def test_without_anything_taken_down_the_answer_is_kept_to_the_letter() -> None:
    found = outcome(set())
    assert found.body == json.dumps(CASE) and len(found.children) == 2

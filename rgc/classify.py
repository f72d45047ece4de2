"""What an answer amounts to, judged from its status, headers and bytes alone: pure functions to outcomes."""

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import parse_qs, urljoin, urlsplit

from corpus_db.ledger import Child, Outcome, Task
from corpus_db.reasons import REASONS
from corpus_db.records import CaseRecord
from corpus_db.tombstones import redact
from rgc import open_i
from rgc.parse import ShapeError, load, read_case, read_list, read_topic
from rgc.site import Refused, Site

OPEN_I = "open-i"
LIST_PATH = "/rest/encounter/diagnosis.json?diagnosis="
CASE_PATH = "/rest/encounter.json?encounterID="
TOPIC_PATH = "/rest/topic.json?topicID="
LOOKUP_PATH = "/rest/image.json?imageID="
ROOTS = tuple(Child(f"{LIST_PATH}{letter}", "list") for letter in "abcdefghijklmnopqrstuvwxyz")
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Answer:
    """One HTTP answer to the request for a task. Header names are lower-case."""

    task: Task
    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int


def classify(answer: Answer, site: Site, withdrawn: AbstractSet[str] = frozenset()) -> Outcome:
    """The outcome of an answer; an image's bytes are still to be verified by the store (`outcome.image`).

    Images whose ids are `withdrawn` are taken out of it.
    """
    outcome = Outcome(answer.task, "failed", http_status=answer.status, attempts=answer.attempts)
    if answer.status == 304 and answer.task.sha256:
        outcome.status = "ok"
    elif answer.status != 200:
        outcome.reason = refusal(answer.status)
        outcome.status = REASONS[outcome.reason].status
    else:
        _read_body(answer, site, outcome, withdrawn)
    return outcome


def refusal(status: int) -> str:
    """The ledger's word for an answer of another status than 200."""
    if f"http_{status}" in REASONS:
        return f"http_{status}"
    return "http_5xx" if status >= 500 else "http_error"


def _read_body(answer: Answer, site: Site, outcome: Outcome, withdrawn: AbstractSet[str]) -> None:
    outcome.status = "ok"
    outcome.etag = answer.headers.get("etag")
    outcome.last_modified = answer.headers.get("last-modified")
    if answer.task.kind == "image":
        outcome.upstream_name = image_name(answer.task.path)
        return  # the store hashes an image's bytes as it verifies them
    outcome.sha256 = hashlib.sha256(answer.body).hexdigest()
    if site.shape == OPEN_I:
        try:
            open_i.read_page(answer.task.path, load(answer.body)[1], site, outcome, withdrawn)
        except ShapeError as error:
            outcome.status, outcome.reason = "failed", error.reason
        return
    outcome.key = next(iter(parse_qs(urlsplit(answer.task.path).query).values()), [answer.task.path])[0]
    try:
        outcome.body, parsed = load(answer.body)
        if redact(parsed, withdrawn):
            outcome.body = json.dumps(parsed)
        if answer.task.kind == "list":
            outcome.children = [Child(CASE_PATH + key, "encounter") for key in read_list(parsed) if _is_key(key)]
        elif answer.task.kind == "encounter":
            case = read_case(parsed)
            outcome.children = case_children(case, site)
            if any(_is_shared(case, image.case_key) for image in case.images):
                outcome.reason = "shared_image"
        else:
            read_topic(parsed)
    except ShapeError as error:
        outcome.status, outcome.reason = "failed", error.reason


def case_children(case: CaseRecord, site: Site) -> list[Child]:
    """The topic and the images of a case as ledger rows; what is withheld or leads off the site is settled here."""
    children = []
    if case.topic_key and _is_key(case.topic_key):
        children.append(Child(TOPIC_PATH + case.topic_key, "topic"))
    for image in case.images:
        if image.url is None:
            path, reason = LOOKUP_PATH + image.key, "no_address"
        else:
            try:
                path, reason = site.resolve(image.url), None
            except Refused as refusal:  # several images may name one bad address: each keeps a row of its own
                path, reason = f"{image.url}#{image.key}", refusal.reason
        reason = reason or image.withheld
        children.append(Child(path, "image", reason, last=_is_shared(case, image.case_key)))
    return children


def image_name(path: str) -> str:
    """The source's name for an image: synpic54610 for /images/full/synpic54610.jpg."""
    name = urlsplit(path).path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def redirect(path: str, location: str, site: Site) -> str:
    """The ledger path that a redirection of `path` leads to; raises Refused where it leaves the site."""
    return site.resolve(urljoin(site.url(path), location))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks to wait, in either of its forms; None where there is none to be read."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def _is_shared(case: CaseRecord, owner: str | None) -> bool:
    return owner is not None and owner != case.key


def _is_key(key: str) -> bool:
    """An id that may stand in an address as it is."""
    return len(key) <= 100 and key.replace("-", "").replace("_", "").isalnum() and key.isascii()

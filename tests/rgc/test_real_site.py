"""The crawl on real MedPix-2.0 records, with every fault that their server knows, judged by the server's truth file."""

import json
import os
import re

import pytest

from tests.rgc.crawling import crawl, json_lines, medpix_site, rows

pytestmark = pytest.mark.skipif(
    "RGC_REAL_DATA" not in os.environ,
    reason="needs RGC_REAL_DATA, a folder with medpix2/ and ../medpix_site/ beside it",
)
EXPECTED = {  # what the ledger says of the resource itself
    "http_404": ("gone", "http_404"),
    "http_410": ("gone", "http_410"),
    "html_as_jpeg": ("failed", "not_an_image"),
    "text_as_jpeg": ("failed", "not_an_image"),
    "empty_image": ("failed", "empty_body"),
    "cut_jpeg": ("failed", "truncated_image"),
    "png_bomb": ("refused", "too_many_pixels"),
    "redirect_away": ("refused", "redirect_away"),
    "redirect_loop": ("failed", "redirect_loop"),
    "error_field": ("failed", "upstream_error"),
    "list_body": ("failed", "wrong_shape"),
    "shared_image": ("ok", "shared_image"),
}
EXPECTED_IMAGE = {  # what it says of an image that the case shows otherwise
    "deleted_image": ("skipped", "deleted"),
    "hidden_image": ("skipped", "hidden"),
    "url_other_port": ("refused", "other_host"),
    "url_other_host": ("refused", "other_host"),
    "url_file": ("refused", "other_scheme"),
    "url_traversal": ("refused", "path_traversal"),
}


@pytest.fixture(scope="module", params=[0.05, 1.0])
def faulty(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    options = ["--faults-seed", 1, "--fault-rate", request.param, "--truth", folder / "truth.jsonl", "--stall", 1]
    with medpix_site(*options) as base:
        done = crawl(base, folder / "corpus.db")
    assert done.returncode == 0, done.stderr
    return folder / "corpus.db", json_lines(folder / "truth.jsonl")


def test_every_fault_is_classed_rightly_and_everything_else_is_there(faulty):
    db, truth = faulty
    ledger = {path: (status, reason) for path, status, reason in rows(db, "SELECT path, status, reason FROM fetch")}
    wrong, settled = [], set()
    for row in truth:
        if row["url"] not in ledger or ledger[row["url"]][0] == "skipped":
            continue  # a thumbnail, or a resource that no answer named or that a case withdrew
        expected = EXPECTED.get(row["fault"], ("ok", None))
        if ledger[row["url"]] != expected:
            wrong.append((row["url"], row["fault"], ledger[row["url"]]))
        settled.add(row["url"])
    assert not wrong
    others = {path: found for path, found in ledger.items() if path not in settled}
    listed_otherwise = {"skipped", "refused"}
    assert all(found == ("ok", None) for found in others.values() if found[0] not in listed_otherwise)


def test_every_image_that_a_case_shows_otherwise_has_its_row_and_reason(faulty):
    db, truth = faulty
    path_of = {}
    for (body,) in rows(db, "SELECT body FROM raw_record WHERE kind = 'encounter'"):
        path_of |= {image["imageID"]: image["imageURL"] for image in json.loads(body)["imageList"]}
    ledger = {path: (status, reason) for path, status, reason in rows(db, "SELECT path, status, reason FROM fetch")}
    cases = [row for row in truth if row["fault"] in EXPECTED_IMAGE and ledger.get(row["url"], ("",))[0] == "ok"]
    assert cases
    for row in cases:
        for key in row["images"]:
            path = path_of[key]
            found = ledger.get(path if row["fault"] in ("deleted_image", "hidden_image") else f"{path}#{key}")
            assert found == EXPECTED_IMAGE[row["fault"]], (row, path)


def test_captions_that_are_hard_to_store_are_stored_to_the_letter(faulty):
    db, truth = faulty
    raw = {key: body for key, body in rows(db, "SELECT key, body FROM raw_record WHERE kind = 'encounter'")}
    for row in truth:
        if row["fault"].startswith("caption_") and (key := row["url"].rpartition("=")[2]) in raw:
            captions = "".join(image["imageCaption"] or "" for image in json.loads(raw[key])["imageList"])
            sign = {"caption_nul": "\0", "caption_surrogate": "\ud83d", "caption_rtl": "\u202e", "caption_html": "<p>"}
            assert sign.get(row["fault"], "") in captions
            assert row["fault"] != "caption_huge" or len(captions) >= 100_000


def test_all_cases_and_images_arrive_with_their_captions_and_a_second_crawl_takes_no_image(tmp_path):
    db, log = tmp_path / "corpus.db", tmp_path / "log.jsonl"
    with medpix_site("--log", log) as base:
        crawl(base, db)
        first = json_lines(log)
        crawl(base, db)
        second = json_lines(log)[len(first) :]
    assert rows(
        db, "SELECT kind, count(*) FROM fetch WHERE status = 'ok' AND kind IN ('encounter', 'image') GROUP BY 1"
    ) == [
        ("encounter", 602),
        ("image", 1850),
    ]
    source = json_lines(f"{os.environ['RGC_REAL_DATA']}/medpix2/images.jsonl")
    captions = {}
    for (body,) in rows(db, "SELECT body FROM raw_record WHERE kind = 'encounter'"):
        captions |= {image["imageName"]: image["imageCaption"] for image in json.loads(body)["imageList"]}
    assert captions == {row["image"].partition("_")[2]: row["caption"] for row in source}
    assert len({row["path"] for row in first}) == len(first), "something was asked for twice"
    assert all(re.match(r"rgc-vlt/\S+ \(.*contact", row["user_agent"]) for row in first)
    assert {row["status"] for row in second if row["path"].startswith("/images/")} == {304}


def test_drift_is_reported_to_the_last_image(tmp_path):
    db, truth = tmp_path / "corpus.db", tmp_path / "truth.jsonl"
    with medpix_site() as base:
        crawl(base, db)
    with medpix_site("--drift", "--truth", truth) as base:
        crawl(base, db)
    expected = json_lines(truth)
    assert {path for (path,) in rows(db, "SELECT path FROM fetch WHERE change = 'changed'")} == {
        r["url"] for r in expected
    }
    captions = {key for row in expected if row["kind"] == "encounter" for key in row["images"]}
    assert {key for (key,) in rows(db, "SELECT key FROM drift WHERE field = 'caption'")} == captions
    assert rows(db, "SELECT count(*) FROM image_ref") == [(1850 + sum(row["kind"] == "image" for row in expected),)]

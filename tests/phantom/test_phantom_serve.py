import http.client
import json
import os
import signal
import string
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rgc.phantom import serving
from rgc.phantom.records import ENCOUNTER_FIELDS, IMAGE_FIELDS, TOPIC_FIELDS


@pytest.fixture(scope="module")
def site(sample: Path) -> Iterator[http.client.HTTPConnection]:
    with serving(sample) as base:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=10)
        yield connection
        connection.close()


def get(site, url: str, method: str = "GET", **headers: str):
    site.request(method, url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = site.getresponse()
    return answer, answer.read()


def test_the_whole_site_is_reached_from_its_letters(site, sample: Path, truth: list[dict]) -> None:
    cases, names = set(), set()
    for letter in string.ascii_lowercase:
        cases |= {
            r["encounterID"] for r in json.loads(get(site, f"/rest/encounter/diagnosis.json?diagnosis={letter}")[1])
        }
    assert cases == {row["case_id"] for row in truth}
    for case in cases:
        body = json.loads(get(site, f"/rest/encounter.json?encounterID={case}")[1])
        assert set(body) == set(ENCOUNTER_FIELDS)
        topic = json.loads(get(site, f"/rest/topic.json?topicID={body['topicID']}")[1])
        assert set(topic) == set(TOPIC_FIELDS)
        for image in body["imageList"]:
            assert set(image) == set(IMAGE_FIELDS)
            found = json.loads(get(site, f"/rest/image.json?imageID={image['imageID']}")[1])
            assert found["imageURL"] == image["imageURL"]
            answer, data = get(site, image["imageURL"])
            assert answer.status == 200
            assert data == (sample / "images" / image["imageName"]).read_bytes()
            names.add(image["imageName"])
    assert names == {row["name"] for row in truth}


def test_an_image_known_by_etag_or_date_is_not_sent_again(site, truth: list[dict]) -> None:
    url = f"/images/full/{truth[0]['name']}"
    first, data = get(site, url)
    assert first.getheader("Content-Type") == "image/png" and data
    for known in ({"If_None_Match": first.getheader("ETag")}, {"If_Modified_Since": first.getheader("Last-Modified")}):
        again, nothing = get(site, url, **known)
        assert (again.status, nothing) == (304, b"")
    assert get(site, url, If_None_Match='"other"')[0].status == 200


def test_head_tells_the_length_and_sends_nothing(site, truth: list[dict]) -> None:
    url = f"/images/full/{truth[0]['name']}"
    whole = get(site, url)[1]
    answer, nothing = get(site, url, method="HEAD")
    assert (answer.status, int(answer.getheader("Content-Length")), nothing) == (200, len(whole), b"")


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/truth.jsonl",
        "/images/full/",
        "/images/full/../../truth.jsonl",
        "/images/full/..%2f..%2ftruth.jsonl",
        "/images/full//etc/passwd",
        "//etc/passwd",
        "/rest/encounter.json?encounterID=../truth",
        "/rest/encounter.json",
        "/rest/topic.json?topicID=x",
        "/rest/image.json?imageID=x",
        "/rest/encounter/diagnosis.json",
    ],
)
def test_what_is_not_there_is_404(site, url: str) -> None:
    assert get(site, url)[0].status == 404


def test_other_methods_are_refused(site) -> None:
    answer, _ = get(site, "/robots.txt", method="POST")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")


def test_robots_may_come(site) -> None:
    assert get(site, "/robots.txt")[1] == b"User-agent: *\nDisallow:\n"


def test_a_folder_that_is_no_sample_is_told_in_the_servers_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot serve"), serving(tmp_path):
        pass


def test_the_server_ends_with_the_block(sample: Path) -> None:
    with serving(sample) as base:
        assert urllib.request.urlopen(f"{base}/robots.txt", timeout=5).status == 200
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{base}/robots.txt", timeout=5)


def test_the_server_ends_when_its_parent_is_killed(sample: Path) -> None:
    block = f"with serving({str(sample)!r}) as u:\n print(u, flush=True)\n time.sleep(60)"
    code = f"import time\nfrom rgc.phantom import serving\n{block}"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    base = parent.stdout.readline().strip()
    assert urllib.request.urlopen(f"{base}/robots.txt", timeout=5).status == 200
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{base}/robots.txt", timeout=5)
        except (urllib.error.URLError, ConnectionError):
            return
        time.sleep(0.05)
    pytest.fail("the server outlived its parent")

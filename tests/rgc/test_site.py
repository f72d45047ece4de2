import pytest

from corpus_db.errors import UserError
from rgc.site import Refused, Site, at_url

SITE = Site("medpix", "https://medpix.nlm.nih.gov", frozenset({"openi.nlm.nih.gov"}))
LOCAL = Site("local", "http://127.0.0.1:8765")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("//images//full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("https://medpix.nlm.nih.gov//images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("http://medpix.nlm.nih.gov/a.jpg", "/a.jpg"),
        ("HTTPS://MEDPIX.nlm.nih.gov:443/a.jpg?size=1#top", "/a.jpg?size=1"),
        ("https://openi.nlm.nih.gov/imgs/a.png", "https://openi.nlm.nih.gov/imgs/a.png"),
    ],
)
def test_an_address_on_the_site_becomes_its_relative_path(address, path):
    assert SITE.resolve(address) == path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("//example.invalid/x.jpg", "other_host"),
        ("http://127.0.0.1:1/evil.jpg", "other_host"),
        ("https://medpix.nlm.nih.gov:8443/x.jpg", "other_host"),
        ("https://medpix.nlm.nih.gov@evil.org/x.jpg", "other_host"),
        ("https://medpix.nlm.nih.gov.evil.org/x.jpg", "other_host"),
        ("file:///etc/passwd", "other_scheme"),
        ("javascript:alert(1)", "other_scheme"),
        ("/images/full/../../../../etc/passwd", "path_traversal"),
        ("/images/%2e%2e/%252e%252e/etc/passwd", "path_traversal"),
        ("/images\\..\\x.jpg", "bad_address"),
        ("/images/a\0b.jpg", "bad_address"),
        ("http://[::1", "bad_address"),
        ("", "bad_address"),
    ],
)
def test_an_address_that_leaves_the_site_is_refused_with_its_reason(address, reason):
    with pytest.raises(Refused) as refused:
        SITE.resolve(address)
    assert refused.value.reason == reason


def test_another_port_of_the_same_machine_is_another_site():
    with pytest.raises(Refused):
        LOCAL.resolve("http://127.0.0.1:1/evil.jpg")
    assert LOCAL.resolve("http://127.0.0.1:8765/a.jpg") == "/a.jpg"


def test_the_name_of_a_source_holds_no_port():
    assert at_url("http://127.0.0.1:8765").name == at_url("http://localhost:1/").name == "local"
    assert at_url("https://medpix.nlm.nih.gov").name == "medpix"
    assert at_url("https://mirror.example.org:8443/medpix").name == "mirror.example.org"


@pytest.mark.parametrize("url", ["medpics", "ftp://example.org", "http://", "http://a:b@c/", "http://x:99999999/"])
def test_what_is_no_site_is_told_in_one_line(url):
    with pytest.raises(UserError):
        at_url(url)

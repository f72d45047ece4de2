import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_db.records import CaseRecord, TopicRecord
from rgc.parse import ShapeError, compare, load, missing_fields, read, read_case, read_list

CASE: dict[str, Any] = {
    "encounterID": "c1",
    "topicID": "t1",
    "history": "N/A",
    "diagnosis": "Renal cyst",
    "authorName": "A. Author",
    "affiliation": "A Hospital",
    "error": None,
    "imageList": [
        {
            "imageID": "i1",
            "imageCaption": "A cyst.\nLeft kidney. ",
            "imageURL": "/images/full/synpic1.jpg",
            "imageName": "synpic1.jpg",
            "modality": "CT - noncontrast",
            "plane": "Axial",
            "preacr": "8",
            "postacr": "-1",
            "encounter": "c1",
            "show": True,
            "deleted": False,
        },
        {"imageID": "i2", "imageURL": "/images/full/synpic2.jpg", "deleted": True},
        {"imageID": "i3", "imageURL": "/images/full/synpic3.jpg", "show": "false"},
    ],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


def test_a_case_is_read_with_its_images_and_credit():
    case = read_case(CASE)
    image = case.images[0]
    assert (case.key, case.topic_key, case.history, case.diagnosis) == ("c1", "t1", None, "Renal cyst")
    assert case.credit == "A. Author, A Hospital"
    assert (image.name, image.caption, image.acr_code) == ("synpic1", "A cyst.\nLeft kidney. ", "8.-1")
    assert [image.withheld for image in case.images] == [None, "deleted", "hidden"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [([CASE], "wrong_shape"), ({"encounterID": "c", "error": "Unavailable"}, "upstream_error"), ({}, "wrong_shape")],
)
def test_json_of_another_shape_is_told_apart(body, reason):
    with pytest.raises(ShapeError) as error:
        read_case(body)
    assert error.value.reason == reason


@given(JSON, st.sampled_from(["list", "encounter", "topic"]))
def test_any_json_is_read_or_refused_and_never_a_crash(body, kind):
    assert isinstance(read(kind, body), CaseRecord | TopicRecord | None)


@given(st.dictionaries(st.sampled_from([*CASE, *CASE["imageList"][0]]), JSON))
def test_fields_of_any_type_are_read_or_refused(fields):
    image = CASE["imageList"][0] | fields
    assert isinstance(
        read("encounter", CASE | {"imageList": [image, fields]} | fields), CaseRecord | TopicRecord | None
    )


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_bad_json(body):
    with pytest.raises(ShapeError) as error:
        load(body)
    assert error.value.reason == "bad_json"


def test_a_json_body_is_kept_to_the_letter():
    text = '{ "a":1,\n "b": "\\ud83d\\u0000" }'
    assert load(text.encode())[0] == text


def test_a_caption_that_no_database_holds_is_kept_as_visible_escapes():
    body = json.loads('{"encounterID": "c", "imageList": [{"imageID": "i", "imageCaption": "a\\u0000b\\ud83d"}]}')
    assert read_case(body).images[0].caption == "a\\u0000b\\ud83d"


def test_the_preflight_names_the_fields_that_are_missing_altogether():
    assert missing_fields("list", [{"id": 1}]) == ["encounterID"]
    missing = missing_fields("encounter", CASE)
    assert "findings" in missing and "history" not in missing
    assert "imageList.title" in missing and "imageList.imageCaption" not in missing


def test_a_list_without_ids_is_no_list_of_cases():
    assert read_list([]) == []
    with pytest.raises(ShapeError):
        read_list([{"id": 1}])


def test_drift_is_told_field_by_field_and_image_by_image():
    after = json.loads(json.dumps(CASE))
    after["imageList"][0]["imageCaption"] = "A cyst, revised."
    after["diagnosis"] = "Cyst"
    del after["imageList"][2]
    assert compare("encounter", CASE, after) == [
        ("c1", "diagnosis", "Renal cyst", "Cyst"),
        ("i1", "caption", "A cyst.\nLeft kidney. ", "A cyst, revised."),
        ("i3", "listed", "True", "False"),
    ]

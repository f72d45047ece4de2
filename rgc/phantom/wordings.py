"""The words of captions: two sets that share no sentence pattern, one for development and one that only measures."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """One set: nouns for studies, and patterns with {study}, {Study}, {finding}, {Finding} and {be} to fill in."""

    study: dict[str, tuple[str, ...]]
    present: tuple[str, ...]
    bare: tuple[str, ...]  # patterns that name no study: for the images of a whole case
    normal: tuple[str, ...]
    size: tuple[str, ...]
    size_sentence: tuple[str, ...]
    rest: tuple[str, ...]
    rest_normal: tuple[str, ...]
    bare_normal: tuple[str, ...]
    noun: dict[str, str]


DEVELOPMENT = Words(
    study={
        "ct": ("CT", "CT scan", "CT image"),
        "mr": ("MRI", "MR image"),
        "dx": ("radiograph", "X-ray"),
        "us": ("ultrasound", "sonogram"),
        "nm": ("scintigram", "radionuclide scan"),
    },
    present=(
        "{Study} shows {finding}{size}.",
        "{Study} demonstrates {finding}{size}.",
        "{Study} with {finding}{size}.",
        "{Study}: {finding}{size}.",
        "{Study}. {Finding}{size}.",
        "{Study} shows {finding}. {measure}",
        "There {be} {finding}{size}. {rest}",
        "{Study} demonstrates {finding}{size}. {rest}",
        "{Finding}{size}. {rest}",
    ),
    bare=("There {be} {finding}{size}.", "{Finding}{size}.", "Images show {finding}{size}.", "{Finding}{size}. {rest}"),
    normal=("Normal {study}.", "{Study} shows no abnormality.", "{Study} is normal.", "{Study}. {restn}"),
    size=(", measuring {mm} mm", ", {cm} cm in diameter", ", measuring {cm} cm"),
    size_sentence=("It measures {mm} mm.", "It is {cm} cm wide."),
    rest=(
        "No other abnormality is seen.",
        "The remaining structures are unremarkable.",
        "No second lesion is visible.",
    ),
    rest_normal=("No abnormality is seen.", "No focal lesion is visible."),
    bare_normal=(
        "Normal study of the {region}.",
        "No abnormality of the {region} is seen.",
        "{Region} without a lesion.",
    ),
    noun={"haemorrhage": "hemorrhage", "mass": "mass", "effusion": "effusion", "fluid": "fluid collection"},
)
MEASURE = Words(
    study={
        "ct": ("computed tomography section", "CT slice", "computed tomography"),
        "mr": ("magnetic resonance image", "MR slice"),
        "dx": ("plain film", "plain radiograph"),
        "us": ("ultrasonography", "ultrasound scan"),
        "nm": ("nuclear medicine image", "scintigraphy"),
    },
    present=(
        "{Study} reveals {finding}{size}.",
        "{Study} depicts {finding}{size}.",
        "{Finding} on {study}{size}.",
        "{Study} is remarkable for {finding}{size}.",
        "Seen on {study} {be} {finding}{size}.",
        "{Study} reveals {finding}. {measure}",
        "{Finding}{size} can be appreciated. {rest}",
        "Visible {be} {finding}{size}. {rest}",
    ),
    bare=(
        "Visible {be} {finding}{size}.",
        "{Finding}{size} can be appreciated.",
        "Evidence of {finding}{size}. {rest}",
    ),
    normal=("Unremarkable {study}.", "{Study} without abnormal findings.", "{Study} reveals normal anatomy. {restn}"),
    size=(", of {mm} mm", ", about {cm} cm across", ", spanning {mm} mm"),
    size_sentence=("Its diameter is {mm} mm.", "The lesion spans {cm} cm."),
    rest=(
        "The other structures appear normal.",
        "Elsewhere the appearance is normal.",
        "There is no additional lesion.",
    ),
    rest_normal=("All structures appear normal.", "There is no visible lesion."),
    bare_normal=("The {region} appears normal.", "Normal appearance of the {region}.", "Unremarkable {region} images."),
    noun={"haemorrhage": "hematoma", "mass": "solid lesion", "effusion": "effusion", "fluid": "pocket of fluid"},
)
WORDS = {"development": DEVELOPMENT, "measure": MEASURE}

REGION = {
    "head": "head",
    "chest": "chest",
    "abdomen": "abdomen",
    "spine": "lumbar spine",
    "knee": "knee",
    "hand": "hand",
}
SHORT = {
    "head": "Head",
    "chest": "Chest",
    "abdomen": "Abdominal",
    "spine": "Paraspinal",
    "knee": "Knee",
    "hand": "Hand",
}
# How a finding looks to a modality: an adjective, at times left out.
LOOK = {
    "ct": {"mass": "lobulated", "haemorrhage": "hyperdense", "cyst": "water-density", "calcification": "hyperdense"},
    "mr": {"mass": "lobulated", "cyst": "thin-walled", "calcification": "signal-free"},
    "dx": {"mass": "lobulated", "calcification": "dense", "cyst": "thin-walled"},
    "us": {"mass": "hypoechoic", "haemorrhage": "echogenic", "cyst": "anechoic", "calcification": "shadowing"},
    "nm": {"mass": "tracer-avid", "haemorrhage": "tracer-avid", "cyst": "photopenic", "calcification": "tracer-avid"},
}

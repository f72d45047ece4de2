"""The site's JSON bodies: encounters, topics and images with all the API's fields, made-up credits, dirty texts."""

from __future__ import annotations

import random
from typing import Any

from rgc.phantom.findings import KINDS
from rgc.phantom.plan import REGIONS, CasePlan, ImagePlan, stable_id
from rgc.phantom.recipe import Recipe, draws

PERSON = "{0}ID {0}Name {0}Affiliation {0}Image {0}Email"
_AUTHOR, _APPROVER = PERSON.format("author"), PERSON.format("approver")
ENCOUNTER_FIELDS = (
    f"encounterID dxHow history age sex race diagnosis exam {_AUTHOR} {_APPROVER} findings ddx txFollowup discussion "
    "topicID mCaseID imageList error contributorsCSV affiliation affiliationID affiliationLogo mediaList"
).split()
IMAGE_FIELDS = (
    "imageID tmpImageID imageCaption imageURL thumbImageURL source title modality plane preacr postacr acrCode "
    f"{_AUTHOR} {_APPROVER} figurePart error size imageName show deleted encounter topic added"
).split()
TOPIC_FIELDS = (
    "topicID factoid preacr postacr acrCode reference location subLocation categoryID subCategory subCategoryID author"
    f" {PERSON.format('submit')} {_APPROVER} {PERSON.format('assigned')} keyword1 keyword2 keyword3 title url "
    "relatedTopics imageList contributorsCSV affiliation affiliationID affiliationLogo"
).split()

DIAGNOSIS = {
    "mass": "Neoplasm",
    "haemorrhage": "Hemorrhage",
    "cyst": "Simple Cyst",
    "calcification": "Calcified Lesion",
    "effusion": "Fluid Collection",
    "fracture": "Fracture",
    "atrophy": "Focal Atrophy",
}
LOCATION = {
    "head": ("Brain and Neuro", "1.3"),
    "chest": ("Chest, Pulmonary", "6.3"),
    "abdomen": ("Abdomen", "7.2"),
    "spine": ("Spine", "3.4"),
    "knee": ("Musculoskeletal", "4.5"),
    "hand": ("Musculoskeletal", "4.3"),
}
PEOPLE = ("Alma Bergstrand", "Tobias Venn", "Orla Quill", "Ivo Castellane", "Mina Oduya", "Pell Harrow")
PLACES = ("Larkmoor General Hospital", "Saint Aubrey Medical Center", "Eastfen University")
HISTORY = (
    "{age} year old {sex} with {weeks} weeks of discomfort.",
    "This {age}-year-old {sex} was first seen on {month}/{day}/{year}.",
    "{sex} patient, {age} y/o.  Referred by Dr. {person}; symptoms since {year}.",
    "N/A",
    "Patient&#39;s symptoms began {weeks} weeks ago.\nNo trauma.",
)
DISCUSSION = (
    "The appearance is typical for this condition.  Questions: {mail}",
    "Most cases are found by chance. See www.example.org/atlas/{year} for more.",
    "None.",
    "Follow-up from {month}/{day}/{year} was unremarkable, as Dr. {person} reported.",
    "The differential is short; imaging usually settles it.",
)


def encounter_record(recipe: Recipe, case: CasePlan) -> dict[str, Any]:
    """The body of /rest/encounter.json for one case."""
    rng = draws(recipe.seed, "record", case.index)
    region, kind = case.finding.region, case.finding.kind if case.finding.present else "normal"
    diagnosis = f"{DIAGNOSIS.get(kind, 'Normal Study')}, {region.capitalize()}"
    topic = topic_of(recipe, case, rng)
    sex, age = rng.choice(("male", "female")), rng.randint(1, 95)
    values = _blanks(rng) | {"age": age, "sex": sex}
    author = _person(recipe, rng, "author")
    row = dict.fromkeys(ENCOUNTER_FIELDS)
    row |= author | _person(recipe, rng, "approver")
    row |= {
        "encounterID": case.case_id,
        "dxHow": rng.choice(("Imaging", "Clinical", "Pathology", None)),
        "history": rng.choice(HISTORY).format(**values),
        "age": str(age),
        "sex": sex,
        "diagnosis": diagnosis,
        "exam": rng.choice(("N/A", None, "Noncontributory.", "Mild tenderness.")),
        "findings": rng.choice((None, "See image captions.", "As shown.")),
        "ddx": rng.choice((None, "Cyst\nAbscess\nNeoplasm", "None")),
        "txFollowup": rng.choice((None, "N/C", "Observation.")),
        "discussion": rng.choice(DISCUSSION).format(**values),
        "topicID": topic,
        "mCaseID": f"PHX{1000 + case.index}",
        "contributorsCSV": row["authorName"],
        "affiliation": row["authorAffiliation"],
        "mediaList": [],
        "imageList": [image_record(recipe, case, image, diagnosis, topic, author) for image in case.images],
    }
    return row


def image_record(
    recipe: Recipe, case: CasePlan, image: ImagePlan, title: str, topic: str, author: dict[str, Any]
) -> dict[str, Any]:
    """One element of an encounter's imageList."""
    acr = acr_of(case)
    row = dict.fromkeys(IMAGE_FIELDS)
    row |= author | {
        "imageID": image_id(recipe, image),
        "imageCaption": image.words.served,
        "imageURL": f"/images/full/{image.name}",
        "thumbImageURL": f"/images/thumbs/{image.name}",
        "title": title,
        "modality": image.modality,
        "plane": image.plane,
        "preacr": acr.partition(".")[0],
        "postacr": acr.partition(".")[2],
        "acrCode": acr,
        "figurePart": image.figure_part,
        "imageName": image.name,
        "show": image.hidden != "show",
        "deleted": image.hidden == "deleted",
        "encounter": case.case_id,
        "topic": topic,
    }
    return row


def image_id(recipe: Recipe, image: ImagePlan) -> str:
    """The imageID."""
    return stable_id(recipe, "image", image.number)


def acr_of(case: CasePlan) -> str:
    """An ACR code; -1 stands for a part that nobody filled in."""
    base = LOCATION[case.finding.region][1]
    part = ("", ".-1", "-1.-1")[(case.index % 11 == 0) + (case.index % 22 == 0)]
    return {"": base, ".-1": base.partition(".")[0] + ".-1", "-1.-1": "-1.-1"}[part]


def topic_of(recipe: Recipe, case: CasePlan, rng: random.Random) -> str:
    """The topic of a case: shared by the cases of a kind and a region, where there is a choice of two."""
    kind = case.finding.kind if case.finding.present else "normal"
    return stable_id(recipe, "topic", case.finding.region, kind, int(rng.random() < 0.3))


def topic_records(recipe: Recipe, used: set[str]) -> list[dict[str, Any]]:
    """The bodies of /rest/topic.json for the topics in use; a kind's knee and hand topics share a title."""
    out = []
    for region in REGIONS:
        for kind in (*KINDS, "normal"):
            for variant in (0, 1):
                topic = stable_id(recipe, "topic", region, kind, variant)
                if topic in used:
                    out.append(_topic(recipe, region, kind, variant, topic))
    return out


def _topic(recipe: Recipe, region: str, kind: str, variant: int, topic: str) -> dict[str, Any]:
    rng = draws(recipe.seed, "topic", region, kind, variant)
    location, acr = LOCATION[region]
    row = dict.fromkeys(TOPIC_FIELDS)
    row |= _person(recipe, rng, "submit") | {
        "topicID": topic,
        "title": f"{DIAGNOSIS.get(kind, 'Normal Study')} of the {location}",
        "factoid": rng.choice(DISCUSSION).format(**_blanks(rng)),
        "location": location,
        "preacr": acr.partition(".")[0],
        "postacr": acr.partition(".")[2],
        "acrCode": acr,
        "subCategory": rng.choice(("Neoplasm", "Trauma", "Degenerative", None)),
        "keyword1": kind,
        "keyword2": region,
        "reference": rng.choice((None, "Phantom Atlas, 3rd ed., p. 41")),
        "url": rng.choice((None, "www.example.org/topics")),
        "author": rng.choice(PEOPLE),
        "imageList": [],
    }
    return row


def _person(recipe: Recipe, rng: random.Random, role: str) -> dict[str, Any]:
    name = rng.choice(PEOPLE)
    return {
        f"{role}ID": stable_id(recipe, "person", name),
        f"{role}Name": f"{name}, M.D.",
        f"{role}Affiliation": rng.choice(PLACES),
        f"{role}Email": f"{name.split()[0].lower()}@example.org",
        f"{role}Image": None,
    }


def _blanks(rng: random.Random) -> dict[str, Any]:
    person = rng.choice(PEOPLE)
    return {
        "weeks": rng.randint(2, 12),
        "month": rng.randint(1, 12),
        "day": rng.randint(1, 28),
        "year": rng.randint(1996, 2014),
        "person": person,
        "mail": f"{person.split()[0].lower()}@example.org",
    }

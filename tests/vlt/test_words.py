import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlt.words import WordClass, classify, signature


def split(caption):
    return re.findall(r"\w+|[^\w\s]", caption.lower())


def classed(caption, kind):
    words = split(caption)
    return [word for word, its in zip(words, classify(words), strict=True) if its is kind]


@pytest.mark.parametrize(
    "caption,findings",
    [
        ("Axial CT shows a mass in the liver.", ["mass"]),
        ("Multiple calcifications and hemorrhagic cysts.", ["calcifications", "hemorrhagic", "cysts"]),
        ("Normal study of the chest.", ["normal"]),
        ("No abnormality is seen.", ["no", "abnormality"]),
        ("Pleural effusion with atelectasis.", ["effusion", "atelectasis"]),
        ("Contrast-enhanced MRI of the brain.", []),
        ("A ring enhancing lesion.", ["ring", "enhancing", "lesion"]),
        ("Proton density image of the knee: low density.", ["density"]),
        ("Gastric wall, collecting system, stroma.", []),
        ("Hepatomegaly, cholelithiasis and pancreatitis.", ["hepatomegaly", "cholelithiasis", "pancreatitis"]),
        ("A cyst. No other abnormality is seen. The remaining structures are unremarkable.", ["cyst"]),
    ],
)
def test_findings(caption, findings):
    assert classed(caption, WordClass.FINDING) == findings


@pytest.mark.parametrize(
    "caption,sides",
    [
        ("A mass in the left kidney and the right lung.", ["left", "right"]),
        ("Cysts on both sides.", ["both", "sides"]),
        ("Bilateral nodules.", ["bilateral"]),
        ("Both images show it.", []),
    ],
)
def test_sides(caption, sides):
    assert classed(caption, WordClass.SIDE) == sides


@pytest.mark.parametrize(
    "caption,sizes",
    [
        ("A mass, measuring 18 mm.", ["18"]),
        ("It is 1.8 cm wide.", ["1", "8"]),
        ("A 2 x 3 cm mass at L2, 5 weeks old.", ["2", "3"]),
        ("A small cyst and an enlarged heart.", ["small", "enlarged"]),
        ("Image 3 of 12.", []),
    ],
)
def test_sizes(caption, sizes):
    assert classed(caption, WordClass.SIZE) == sizes


def test_content_words_are_neither_function_words_nor_punctuation():
    assert classed("Axial CT of the head shows a mass in the left frontal lobe.", WordClass.CONTENT) == [
        "axial",
        "ct",
        "head",
        "frontal",
        "lobe",
    ]


@pytest.mark.parametrize(
    "one,other,same",
    [
        ("Normal study of the head.", "Axial CT of the head shows no abnormality.", True),
        ("Head without a lesion.", "Chest X-ray.", True),
        ("A cyst in the left kidney.", "A cyst in the left kidney. No second lesion is visible.", True),
        ("A cyst in the left kidney.", "A cyst in the right kidney.", False),
        ("A cyst.", "A mass.", False),
        ("A cyst, 1.8 cm.", "A cyst, 1.2 cm.", False),
        ("A cyst.", "Normal.", False),
        ("Cysts.", "Cystic.", True),
        ("A mass without edema.", "A mass.", True),
        ("No mass, hemorrhage or edema is seen.", "Normal study.", True),
        ("CT without contrast shows a mass.", "A mass.", True),
        ("No edema but a mass.", "A mass.", True),
        ("A mass, normal ventricles.", "A mass.", True),
        ("The kidneys are normal. A mass.", "A mass.", True),
        ("The left kidney is normal. A mass.", "A mass.", True),
        ("Proton density MRI is normal.", "MRI is normal.", True),
        ("A mass without edema.", "Edema without a mass.", False),
    ],
)
def test_captions_that_say_the_same_of_the_image_have_one_signature(one, other, same):
    assert (signature(split(one)) == signature(split(other))) is same


ANY = [
    "left",
    "cyst",
    ".",
    "1",
    "mm",
    "no",
    "other",
    "both",
    "sides",
    "but",
    ",",
    "normal",
    "without",
    "contrast",
    "proton",
    "density",
    "\x00",
]


@given(st.lists(st.sampled_from([*ANY, ""])))
def test_any_words_are_classed(words):
    assert len(classify(words)) == len(words)
    assert signature(words)

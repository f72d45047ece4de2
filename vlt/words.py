"""What kind of word each word of a caption is: function word, content word, finding, side or size.

Finding words are those of RadLex's descriptors and observations and of MeSH's pathological conditions that captions
use; they are told by their stems, so that "hemorrhagic" and "calcified" count with "hemorrhage" and "calcification",
and the names of diseases by their Greek endings.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cache

FORM = 2  # raise it when words would be classed otherwise: it is part of the name of kept arrays


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class WordClass(IntEnum):
    """The higher, the harder to tell without the image; FINDING, SIDE and SIZE are the hard ones."""

    FUNCTION = 0
    CONTENT = 1
    FINDING = 2
    SIDE = 3
    SIZE = 4


_HARD = WordClass.FINDING
_FUNCTION = _words(
    """a about above across after also an and any are as at be been before being below between both but by can could
    demonstrate demonstrated demonstrates demonstrating demonstration did do does during each evidence evident figure
    for from had has have having here if image images in into is it its may might more most near noted of on or other
    over per prior reveal revealed revealing reveals see seen show showed showing shown shows since some such than that
    the their them then there these they this those through to two under until up was well were when where which while
    who with within without"""
)
_DENIALS = _words("no not without nothing")
NORMAL = _DENIALS | _words("normal unremarkable negative intact")
_ABNORMAL_STEMS = tuple(
    _words(
        """abnormal abscess absen adenoma adenopath anastomos aneurysm angioma anomal appendicit arthrit ascites aspirat
        asymmetr atelecta atheroma atresia atroph avuls bleed blood bulg bulla bullous calcif calcul cancer carcinoma
        cardiomegal cavit cirrho coarctat collaps collection compress consolidat contus cyst deform degenerat
        demyelinat densit destruct deviat dilat diseas disloc displac dissect distend distens diverticul dysplas
        ectasia ectop edema effac effusion embol emphysem empyema encas enhanc enlarg eros exostos extravas exudat
        fibroma fibros fibrot fistul flap fluid foreign fractur gallston glioma gliosis granuloma haemangioma
        haematoma haemorrhag hemangioma hematoma hemorrhag hemothora hernia heterogen hydroceph hydronephro
        hydropneumo hydrothora hyperattenuat hyperdens hyperecho hyperintens hyperlucen hypermetabol hyperplas
        hypertroph hypoattenuat hypodens hypoecho hypointens hypoplas impact impinge infarct infect infiltrat inflam
        injur interrupt intussuscept invagin invas involv irregular ischaemi ischemi lacerat leak lesion leukomalac
        lipoma lobulat loculat lucen lymphadeno lymphoma malform malign malrot mass meningioma metasta mucocele myoma
        narrow necro neoplas nodul obliter obstruct occlud occlus oedema opaci osteolyt osteophyt perforat plaque
        pneumatos pneumomediast pneumonia pneumoperiton pneumothora polyp prolaps protru pseudocyst ptosis radiolucen
        rupture sarcoma scar scleros sclerotic septat shadow shift shunt sinusit spicul spondyl stenos stenot stone
        stranding stricture sublux suppurat swell syrinx tear teratoma thicken thrombi thrombo thrombus torn torsion
        trauma tumor tumour ulcer varic varix vasculit volvul wast widen"""
    )
)
_ABNORMAL = _words("avid clot clots gas lytic ring")
_ABNORMAL_ENDINGS = tuple(_words("itis itides oma omas omata megaly ectasis lithiasis listhesis necrosis"))
_NO_DISEASE = _words("coma soma stoma stroma")
_SIDE = _words("left right bilateral bilaterally unilateral unilaterally lt rt sided leftward rightward")
_SIZE = _words(
    """small smaller large larger big tiny huge minute giant massive mild moderate severe minimal marked extensive
    enlarged"""
)
_UNITS = _words("mm cm millimeter millimeters millimetre centimeter centimeters centimetre inch inches")
_TURNS = _words("but however except although")  # a denial ends there
_TECHNIQUE = _words("contrast gadolinium gad iv intravenous oral fat")  # what an image may be taken without
_REST = _words("other second further additional remaining else another")


def classify(words: Sequence[str]) -> list[WordClass]:
    """The class of each word of a caption; words are lower-cased and punctuation stands alone ("1", ".", "8", "cm")."""
    kinds = [_alone(word) for word in words]
    for place, word in enumerate(words):
        if word in _UNITS:
            _mark_measure(words, kinds, place)
        elif word == "sides" or (word == "both" and words[place + 1 : place + 2] == ["sides"]):
            kinds[place] = WordClass.SIDE
        elif (word.startswith("enhanc") and words[max(place - 2, 0) : place] == ["contrast", "-"]) or (
            word == "density" and words[max(place - 1, 0) : place] == ["proton"]
        ):
            kinds[place] = WordClass.CONTENT  # how the image was taken
    for first, last in _sentences(words):
        if _REST.intersection(words[first:last]):
            kinds[first:last] = [min(kind, WordClass.CONTENT) for kind in kinds[first:last]]
    return kinds


def signature(words: Sequence[str]) -> frozenset[str]:
    """What a caption says that an image of the same modality, region and plane need not show: findings, sides, sizes.

    Captions that name no finding all say {"normal"}. What is denied or called normal says nothing, nor does a sentence
    of the rest ("No other abnormality is seen"). Findings are their stems: "cysts" and "cystic" say the same.
    """
    kinds = classify(words)
    said: set[str] = set()
    for first, last in _sentences(words):
        said |= _affirmed(words[first:last], kinds[first:last])
    return frozenset(said) if said - _SIDE else frozenset(said | {"normal"})


def _affirmed(words: Sequence[str], kinds: Sequence[WordClass]) -> set[str]:
    """What one sentence says; "no a, b or c" denies all three, "a, normal b" affirms a."""
    said: set[str] = set()
    clause: set[str] = set()
    denied = normal = False
    for word, kind, after in zip([*words, ","], [*kinds, WordClass.FUNCTION], [*words[1:], "", ""], strict=False):
        if word == "," or word in _TURNS:
            said |= set() if normal else clause
            clause, normal, denied = set(), False, denied and word == ","
        elif word in NORMAL:
            denied |= word in _DENIALS and after not in _TECHNIQUE
            normal |= word not in _DENIALS
        elif kind >= _HARD and not denied:
            clause.add(stem(word))
    return said


@cache
def stem(word: str) -> str:
    """The longest stem that a finding word begins with, else the word."""
    return max((start for start in _ABNORMAL_STEMS if word.startswith(start)), key=len, default=word)


def _sentences(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each sentence begins and ends; the point of "1 . 8" ends none."""
    first = 0
    for place, word in enumerate(words):
        number = [*words[place - 1 : place], *words[place + 1 : place + 2]]
        if word in (".", ";") and not (len(number) == 2 and all(part.isdigit() for part in number)):
            yield first, place
            first = place + 1
    yield first, len(words)


@cache
def _alone(word: str) -> WordClass:
    """The class of a word by itself."""
    if word in _SIDE:
        return WordClass.SIDE
    if word in _SIZE:
        return WordClass.SIZE
    if word in NORMAL or word in _ABNORMAL or word.startswith(_ABNORMAL_STEMS):
        return WordClass.FINDING
    if word.endswith(_ABNORMAL_ENDINGS) and word not in _NO_DISEASE:
        return WordClass.FINDING
    if word in _FUNCTION or not any(letter.isalnum() for letter in word):
        return WordClass.FUNCTION
    return WordClass.CONTENT


def _mark_measure(words: Sequence[str], kinds: list[WordClass], unit: int) -> None:
    """Numbers before a unit are sizes: "12 mm", "1 . 8 cm", "2 x 3 cm"."""
    place = unit - 1
    while place >= 0 and (words[place].isdigit() or words[place] in (".", "x", "-")):
        if words[place].isdigit():
            kinds[place] = WordClass.SIZE
        place -= 1

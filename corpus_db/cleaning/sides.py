"""Rules of sides and capitals: `R` and `Lt` are written out, captions in capitals get sentence case."""

import re
import string

from corpus_db.cleaning.rule import Rule, listed, words_of

_SIDES = {"r": "right", "l": "left"}
_NOT_AFTER = (
    r"(?!(?:wave|waves|value|values|squared|spine|spines|ratio|factor|score|score|coefficient|"
    r"indicates?|denotes?|is|are|and|"
    r"or|in|on|of|at|to|represents?|marks?|means|shows?|was|were|for|with|as|by|than|vs|test|type|per)\b)"
)
_NOUN = (
    r"(?!(?:There|This|These|Note|Axial|Coronal|Sagittal|Normal|Also|Both|Mild|With)\b)(?:[a-z]{3,}|"
    r"[A-Z]{2,6}\b(?!\d)|[A-Z][a-z]{3,}|\d{1,2}(?:st|nd|rd|th) [a-z]|[CTLS]\d{1,2}\b)"
)
_PLACE = (
    r"(?:kidneys?|lungs?|lobes?|breasts?|hips?|knees?|shoulders?|ankles?|feet|foot|hands?|wrists?|"
    r"elbows?|arms?|legs?|femurs?|"
    r"tibias?|renal|ovar\w+|adrenal|temporal|frontal|parietal|occipital|upper|lower|middle|hemi\w+|"
    r"side\w*|chest|eye|orbit\w*|neck|thyroid|"
    r"ventric\w+|atri\w+|pleura\w*|hilar|hilum|iliac|carotid|vertebral|pulmonary|maxill\w+|mandib\w+|"
    r"cerebell\w+|lateral|medial|anterior|posterior)"
)
_ABBREVIATED = re.compile(
    rf"(?<![\w.'&/<>-])(?<!\d )(?:(?P<bare>[RL]|[RL]t|[rl]t)(?P<stop>\.)? (?={_NOT_AFTER}{_NOUN})|"
    rf"(?P<caps>RT|LT) (?=(?i:{_PLACE}\b)))"
)
_SIDED = re.compile(r"(?<![\w.'&/-])(?P<side>[RL]|[RL]t)\.?(?=[ -]sided?\b)")
_BOTH = re.compile(  # "R > L", "L and R kidneys": both or neither
    r"(?<![\w.'&/-])(?P<one>[RL]|[RL]t)\.?(?P<between> [<>] | and | or )(?P<other>[RL]|[RL]t)\b(?![.'-]\w)"
)
_IN_BRACKETS = re.compile(
    r"(?P<before>^|\b(?:of|the|in|a|an|and|with|within|MRI?|CT|CTA|MRA|US|PET|ultrasound|X-?ray|"
    r"radiograph|scan|film|axial|coronal|sagittal|enlarged|normal|small|large) )"
    rf"\((?P<side>[RL]|[RL]t)\.?\) (?={_NOT_AFTER}[a-z]{{3,}})"
)
_ON_THE = re.compile(
    r"(?P<on>\b(?:on|to|in|of) the )(?P<side>[RL]|[RL]t)(?=[,;)]|\.?$|\.(?= [A-Z])| (?:and|with|than|is|"
    r"are|but|side)\b)"
)


def _written(side: str, opens: bool) -> str:
    word = _SIDES[side[0].lower()]
    return word.capitalize() if opens else word


def _opens(text: str, at: int) -> bool:
    before = text[max(0, at - 3) : at].rstrip(" (\"'")
    return at == 0 or not before or before.endswith((".", "!", "?"))


_SHORT = listed("r l rt lt")


def _side(text: str) -> str:
    if _SHORT.isdisjoint(words_of(text)):
        return text

    def abbreviated(found: re.Match[str]) -> str:
        return _written(found["bare"] or found["caps"], _opens(text, found.start())) + " "

    def both(found: re.Match[str]) -> str:
        one, other = _written(found["one"], _opens(text, found.start())), _written(found["other"], False)
        return f"{one}{found['between']}{other}"

    def bracketed(found: re.Match[str]) -> str:
        return found["before"] + _written(found["side"], not found["before"] and not found.start()) + " "

    if "(R" in text or "(L" in text:
        text = _IN_BRACKETS.sub(bracketed, text)
    if "R" in text or "L" in text:
        text = _BOTH.sub(both, text)
        text = _SIDED.sub(lambda found: _written(found["side"], _opens(text, found.start())), text)
        text = _ON_THE.sub(lambda found: found["on"] + _written(found["side"], False), text)
    return _ABBREVIATED.sub(abbreviated, text)


_TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_ACRONYMS = listed(
    "CT MR MRI MRA MRV MRS MRCP US PET FDG SPECT CTA CTV CXR KUB IVP IVU ERCP DSA FLAIR STIR DWI ADC "
    "GRE SWI FSE TSE SE MIP MPR TR TE "
    "AP PA ACL PCL MCL LCL AVM AVN ICA ECA MCA ACA PCA AICA PICA SCA IMA SMA SMV IVC SVC LAD RCA AAA "
    "ASD VSD PDA COPD ARDS TB HIV AIDS "
    "UPJ UVJ GI GU GB CBD CNS CSF CP IAC TMJ SI DVT PE RUL RML RLL LUL LLL RUQ LUQ RLQ LLQ IV PO NG ET "
    "HU FNH HCC RCC TCC GIST MS NF "
    "ADEM MELAS CADASIL PRES DNET PNET AML ALL CLL NHL UIP NSIP DIP BOOP COP LAM PAP EKG ECG AIDS ROI "
    "SUV BI-RADS OA RA SLE II III IV VI VII "
    "VIII IX XI XII POEMS SAPHO ACTH PTH TSH AIP IPMN USA UTI OCD AC DISH OPLL EDH SDH SAH ICH IVH PICC ECMO"
)
_LOWER = listed("cm mm ml kg mg mhz khz msec sec w by dr st mr") - {"mr", "dr", "st"}
_EPONYMS = listed(
    "hodgkin wilms ewing crohn graves hashimoto alzheimer parkinson huntington wilson paget osgood "
    "schlatter hill sachs bankart chiari arnold "
    "dandy walker baker morgagni bochdalek zenker meckel hirschsprung kaposi klatskin krukenberg "
    "pancoast swyer james kartagener marfan ehlers danlos "
    "sturge weber hippel lindau recklinghausen legg calve perthes kienbock freiberg kohler colles "
    "smith barton galeazzi monteggia jones lisfranc "
    "salter harris segond schmorl scheuermann schatzki barrett mallory weiss boerhaave budd chiari "
    "caroli mirizzi wharton cushing conn addison "
    "takayasu kawasaki wegener goodpasture moyamoya willis galen sylvian rathke warthin sjogren "
    "wernicke korsakoff creutzfeldt jakob lhermitte duclos "
    "guillain barre brown sequard charcot cowden gardner peutz jeghers turner klinefelter ebstein "
    "fallot eisenmenger kerley hampton westermark "
    "rigler chilaiditi spigelian gorham ollier maffucci erdheim chester langerhans castleman whipple "
    "looser achilles baastrup bertolotti lemierre "
    "tornwaldt thornwaldt foley hounsfield doppler swan ganz morton haglund sever sinding larsen "
    "johansson kimura madelung sprengel poland "
    "cobb gleason bosniak fuhrman fleischner eustachian fallopian bartholin gartner cowper nabothian "
    "douglas hutch mullerian wolffian"
)
_VOWEL = re.compile("[AEIOUY]")


def _word(found: re.Match[str]) -> str:
    word = found[0]
    if not (word.isupper() or word.istitle()) or word in _ACRONYMS or (len(word) == 1 and word != "A"):
        return word
    small = word.lower()
    if small in _LOWER:
        return small
    parts = re.split(r"(['-])", small)
    if any(part in _EPONYMS or f"{part}s" in _EPONYMS for part in parts):
        return "".join(part.capitalize() if part in _EPONYMS or f"{part}s" in _EPONYMS else part for part in parts)
    if len(word) <= 4 and word.isupper() and not _VOWEL.search(word):
        return word
    return "".join(
        part.upper() if part.upper() in _ACRONYMS and len(part) > 1 and len(parts) > 1 else part for part in parts
    )


_START = re.compile(r"(?:^|[.!?]\s+|:\s*\n\s*|\n\s*\n\s*)[\s\"'(*-]*[a-z]")
_PLAIN = listed(
    "AXIAL CHEST HEAD NECK LEFT RIGHT BRAIN MASS LIVER LUNG SPINE KNEE PELVIS CYST TUMOR VIEW IMAGE "
    "BONE HEART ELBOW ANKLE WRIST HAND FOOT SCAN NORMAL LARGE SMALL ACUTE"
)
_NOT_UPPER, _NOT_LOWER = (
    bytes(set(range(256)) - set(kept.encode())) for kept in (string.ascii_uppercase, string.ascii_lowercase)
)
_FEW, _SHARE = 8, 0.75


def _sentence_case(text: str) -> str:
    letters = text.encode("ascii", "ignore")
    capitals = len(letters.translate(None, _NOT_UPPER))
    if capitals < _FEW or capitals < _SHARE * (capitals + len(letters.translate(None, _NOT_LOWER))):
        return text
    if capitals < _SHARE * sum(map(str.isalpha, text)):
        return text
    words = [word for word in _TOKEN.findall(text) if word.isupper() and len(word) > 3 and word not in _ACRONYMS]
    if len(words) < 2 and not any(len(word) > 5 or word in _PLAIN for word in words):
        return text
    cased = _TOKEN.sub(_word, text)
    return _START.sub(lambda found: found[0][:-1] + found[0][-1].upper(), cased).replace("W/ ", "w/ ")


SIDE = Rule("laterality", "abbreviated sides are written out", "R occipital condyle and Lt. MCA", _side)
CAPITALS = Rule("sentence_case", "capitals throughout are a habit of typing", "HORSESHOE KIDNEY", _sentence_case)

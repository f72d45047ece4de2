"""Rules of sentences that the image does not show: quiz questions, and pure history, course, pathology or outcome."""

import re

from corpus_db.cleaning.rule import Caseless, Rule, has, listed, words_of
from corpus_db.cleaning.sentences import without_sentences

_QUESTION = Caseless(
    r"[\"'(*]?(?:(?:so|and|now|but|ok|okay|quiz|question)[,:]? )?(?:what|what's|which|where|where's|who|"
    r"whose|how|why|when|can|could|do|does|did|is|are|was|were|would|will|should|"
    r"have|has|any|name|describe|identify|see|notice|your|diagnosis|differential|based on|given|in "
    r"which|on which|of which|to which|at which|from)\b[^?]*\?+[\"')*]*$"
)
_TASK = Caseless(
    r"(?:please )?(?:(?:name|identify|describe|list|guess|find|spot|locate|give|state|try to|think "
    r"about|consider|formulate|provide|make|click|scroll|choose|select)"
    r" (?:the|your|a|an|all|three|this|these|what|possible|to)\b[^.!?]{0,60}\b(?:abnormalit(?:y|ies)|"
    r"findings?|diagnos[ie]s|differentials?|lesions?|structures?|answers?|signs?|image|images|case|"
    r"arrow)"
    r"|what(?:'s| is) (?:the|your) (?:diagnosis|finding)s?|(?:your|the) diagnosis|answer(?: below| to "
    r"follow)?)[.!:?]*$"
)


def _asks(sentence: str) -> bool:
    if sentence.rstrip("\"')*").endswith("?"):
        return bool(_QUESTION.match(sentence)) and not re.match(r"\w+(?: \w+){0,3} \?", sentence)
    return bool(_TASK.match(sentence))


_TASK_WORDS = listed(
    "name identify describe list guess find spot locate give state try think consider formulate "
    "provide make click scroll choose select what answer diagnosis diagnoses"
)


def _quiz(text: str) -> str:
    if "?" in text or not _TASK_WORDS.isdisjoint(words_of(text)):
        return without_sentences(text, _asks)
    return text


_PERSON = (
    r"(?:(?:the|this|our|a|an) )?(?:(?:\d{1,3}|over 89)[ -]?(?:years?|yrs?|yo|y/?o|months?|weeks?|days?)"
    r"[ -]?(?:old|of age)?,? )?(?:(?:asymptomatic|otherwise|healthy|previously|white|black|african[ "
    r"-]american|caucasian|hispanic|asian|young|elderly|middle[- ]aged|old|active|duty) )"
    r"{0,3}(?:patients?|pts?|he|she|they|man|woman|male|female|boy|girl|child|infant|baby|newborn|"
    r"neonate|gentleman|lady|toddler|teenager|adolescent|mother|father|parents|person|individual|"
    r"soldier|athlete|m|f)\b"
)
_AGED = (
    r"(?:(?:an?|this|the) )?(?:\d{1,3}|over 89)[ -]?(?:years?|yrs?|yo|y/?o|months?|weeks?|days?)[ -]?(?:old|of age)?\b"
)
_EVENT = (
    r"(?:presented|presents|presenting|complain(?:ed|ing|s)|underwent|undergone|undergoing|was "
    r"(?:admitted|treated|discharged|started|referred|taken|transferred|diagnosed|seen|followed|lost|"
    r"given|found to have|brought|intubated|sent|operated|placed|managed|evaluated|stabilized|observed|"
    r"reimaged|re-imaged|rescanned|counseled)|were (?:admitted|treated|discharged|diagnosed)|"
    r"(?:has|had|with) (?:a |an )?(?:\w+ ){0,3}history of|reported|reports|denie[sd]|did well|did not|"
    r"does well|recovered|improved|died|expired|deteriorated|returned|remained|remains|required|"
    r"requires|"
    r"developed|develops|experienced|sustained|suffered|received|tolerated|refused|declined|elected|"
    r"admitted to|had (?:no further|an uneventful|a history|been|undergone|surgery|fallen|had|sustained|"
    r"noticed|noted|symptoms|pain|headaches?|fever|seizures?)|"
    r"has (?:been|had|done|undergone)|noticed|noted|fell|vomited|is (?:doing well|alive|currently|now|"
    r"being|scheduled|asymptomatic|symptom)|"
    r"who (?:presented|presents|was|had|has|underwent|complained|sustained|fell|developed|is)|status "
    r"post (?:fall|mva|mvc|trauma|assault)|in (?:a|an) (?:motor vehicle|road|car|bicycle|motorcycle) "
    r"(?:accident|collision))"
)
_HISTORY = Caseless(
    rf"(?:(?:on|at|after|during|in|upon|for|over|since|by|then|later|subsequently|initially|eventually|"
    rf"additionally|however|clinically|thereafter|unfortunately|ultimately|following)\b[^,]{{0,50}}, )?"
    rf"(?:{_PERSON},? (?:\w+ ){{0,3}}?(?:{_EVENT}|with (?:a |an )?(?:\w+ ){{0,3}}(?:history|weeks?|"
    rf"months?|days?|years?|onset|complaints?)\b)"
    rf"|{_AGED},? (?:\w+ ){{0,3}}?(?:{_EVENT}|with (?:a |an )?(?:\w+ ){{0,3}}(?:history|weeks?|months?|"
    rf"days?|years?|onset|complaints?|pain)\b)"
    r"|(?:clinical |past |medical |surgical |family |social |known |prior |remote |long |patient )"
    r"*(?:history|hx|pmh|pmhx)\b ?(?:of|:|is|was|includes|significant|positive|notable)"
    r"|(?:h/o|s/p fall|c/o)\b"
    r"|(?:chief complaint|presenting (?:complaint|symptoms?)|symptoms? (?:include|included|began|"
    r"started|resolved|improved|had|were|persisted))"
    r"|(?:(?:the|a|an|surgical|open|final|subsequent|core|needle|excisional|brain|liver|renal|lung|bone|"
    r"marrow|percutaneous|ct[- ]guided|ultrasound[- ]guided|fine[- ]needle|specimen) )*"
    r"(?:biops(?:y|ies)|patholog(?:y|ic|ical)|histolog(?:y|ical)|histopatholog\w*|cytolog\w*|autopsy|"
    r"aspirat(?:e|ion)|specimens?|cultures?|frozen section|microscop\w*|immunohistochem\w*|surgery|"
    r"operation|craniotomy|thoracotomy|laparotomy|laparoscopy|arthroscopy|resection|excision|"
    r"colectomy|appendectomy|nephrectomy|cystoscopy|colonoscopy|endoscopy|bronchoscopy|egd|chemotherapy|"
    r"antibiotics?|steroids?|treatment|therapy|lumbar puncture|lab(?:oratory)?(?: values| results| "
    r"tests| studies| work)?|serum|blood (?:tests|cultures?|work))"
    r"(?: (?:from|of|at|following|after|results?|report|examination|analysis|evaluation|findings|"
    r"diagnosis|specimens?)\b[^.,]{0,50}?)?"
    r" (?:\w+ )?(?:was|were|is|came|confirmed|revealed|showed|demonstrated|proved|proven|returned|"
    r"consistent|grew|disclosed|yielded|established|performed|identified|diagnosed|reported|has|had|"
    r"included|later)\b"
    r"|(?:diagnosis|tumor|mass|lesion|it|this|findings?) (?:was|were) (?:\w+ )?(?:confirmed|proven|"
    r"proved|established|resected|excised|removed|biopsied|verified|diagnosed)(?: (?:by|at|on|with|via|"
    r"to|histologic\w*|surgical\w*|patholog\w*|as)\b|\.?$)"
    r"|(?:proven|confirmed) (?:by|at|on) (?:biopsy|surgery|pathology|histology|autopsy)"
    r"|(?:the )?(?:\w+ ){1,3}(?:was|were) (?:removed|discontinued|started|administered|stopped|"
    r"initiated|prescribed|withdrawn)\b"
    r"|(?:his|her|their|the) (?:\w+ ){0,2}(?:symptoms?|pain|fever|headaches?|seizures?|mother|father|"
    r"parents|family|physician|doctor|recovery|postoperative course|hospital course|course|prognosis|"
    r"outcome)\b"
    r"|(?:treated|managed|diagnosed|admitted|referred|discharged|presented|underwent|complained|"
    r"presenting|involved|struck|hit|fell|injured|complaining) \w+"
    r"|(?:no|without) (?:known |significant |prior )*(?:history|trauma history)\b"
    r"|this (?:ct |mri? |study |image |scan )*(?:shows|explains|tells) why\b"
    r"|(?:(?:\w+ ){0,3}(?:days?|weeks?|months?|years?|hours?) (?:later|earlier|ago|prior|after \w+|"
    r"following \w+), )(?:\w+ ){0,8}(?:was|were|had|underwent|developed|not able|presented|performed|"
    r"died)\b)"
)
_THEN = Caseless(
    r"(?:the )?(?:following|next|same) (?:day|week|month|morning|year), |(?:\d+|one|two|three|four|five|"
    r"six|several|a few) (?:days?|weeks?|months?|years?|hours?) (?:later|earlier|ago|after\b[^,]{0,30})"
    r",? "
)
_SEEN = Caseless(
    r"\b(?:ct|cta|mr|mri|mra|mrcp|pet|ultrasound|sonogra\w+|radiogra\w+|x-?rays?|films?|imag(?:e|es|ing)"
    r"|scans?|tomogra\w*|angiogra\w+|venogra\w+|"
    r"fluoroscop\w+|echo\w*|thromb\w+|aneurysm\w*|disappear\w*|residual|recurren\w+|mammogra\w+|"
    r"scintigra\w+|cxr|kub|flair|stir|dwi|t[12]w?i?|adc|axial|coronal|sagittal|view|slice|window|"
    r"contrast|enhanc\w+|hyper(?:intens|dens|attenu|echo)\w+|hypo(?:intens|dens|attenu|echo)\w+|"
    r"iso(?:intens|dens|echo)\w+|signal|attenuation|densit\w+|opaci\w+|lucen\w+|echogenic\w*|intensity|"
    r"calcifi\w+|edema|effusions?|lesions?|mass(?:es)?|nodules?|cysts?|cystic|"
    r"collections?|thickening|thickened|dilat\w+|enlarged|enlargement|stranding|atelecta\w+|"
    r"consolidation|displac\w+|midline shift|fractures?|visuali[sz]ed|seen|shown|demonstrat\w+|"
    r"depict\w*|illustrat\w*|hydronephro\w+|stenosis|occlu\w+|artifact|sclero\w+|herniat\w+|catheter|"
    r"stent|clips?|uptake|avid\w*|spiculated|lytic|blastic|mm|cm|hu|postoperative change\w*)\b"
)
_PROOF = Caseless(
    r"(?:(?:\w+ ){0,5}(?:biops(?:y|ies)|patholog(?:y|ic|ical)|histolog(?:y|ical)|histopatholog\w*|"
    r"cytolog\w*|autopsy|surgery|specimens?)\b)|(?:the )?(?:following|next|same) (?:day|week|month|"
    r"morning)"
    r"|.*\b(?:shows|explains) why\b"
)
_STUDIED = Caseless(
    r"\b(?:ct|cta|mr|mri|mra|mrcp|pet|ultrasound|sonogra\w+|radiogra\w+|x-?rays?|films?|imag(?:e|es|ing)"
    r"|scans?|tomogra\w*|angiogra\w+|cxr|kub|mammogra\w+|"
    r"axial|coronal|sagittal|flair|stir|dwi|t[12]w?i?)\b"
)
_WHY = Caseless(r"[^.]*\b(?:shows|explains|tells us|demonstrates) why[.!]?$")


def is_history(sentence: str) -> bool:
    """Whether a sentence tells what was before, after or under the microscope, and nothing that the image shows."""
    if has(sentence, "why") and _WHY.match(sentence):
        return True
    told = _HISTORY.match(sentence)
    if not told:
        then = _THEN.match(sentence)
        told = _HISTORY.match(sentence, then.end()) if then else None
    if not told:
        return False
    return not (_STUDIED if _PROOF.match(sentence) else _SEEN).search(sentence.replace("reimaged", ""))


_TOLD = listed(
    "patient patients pt pts history histories histologic histology histological histologically "
    "histopathologic histopathology histopathological hx pmh biopsy biopsies biopsied pathology "
    "pathologic pathological pathologically cytology cytologic cytological autopsy aspirate aspiration "
    "specimen specimens culture cultures frozen microscopic microscopy immunohistochemical "
    "immunohistochemistry surgery surgical operation operated craniotomy thoracotomy laparotomy "
    "laparoscopy arthroscopy resection resected excision excised colectomy appendectomy nephrectomy "
    "cystoscopy colonoscopy endoscopy bronchoscopy egd chemotherapy antibiotic antibiotics steroid "
    "steroids treatment treated therapy puncture lab labs laboratory serum confirmed proven proved "
    "diagnosed symptoms symptom complaint complaints underwent presented presenting presents "
    "complaining complained he she they his her their man woman boy girl child infant baby newborn "
    "neonate gentleman lady toddler teenager adolescent mother father parents person individual "
    "soldier athlete male female removed discontinued started administered stopped initiated "
    "prescribed withdrawn later ago old why explains tells admitted managed involved struck injured "
    "verified established following next morning blood"
)


def may_tell(text: str) -> bool:
    """Whether `text` may hold history; cheap, and errs on the side of yes."""
    return not _TOLD.isdisjoint(words_of(text)) or "/o" in text


def _history(text: str) -> str:
    if not may_tell(text):
        return text
    return without_sentences(text, is_history, spare_last=True)


QUIZ = Rule("quiz", "a question to the reader is not a finding", "Axial CT. What is your diagnosis?", _quiz)
HISTORY = Rule(
    "history",
    "a sentence of pure history, course, pathology or outcome is not in the image",
    "She presented with pain. A cyst.",
    _history,
)

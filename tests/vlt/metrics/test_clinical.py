import numpy as np
import pytest

from vlt.metrics.clinical import counts, f1, findings, ratios


def told(text):
    """+ present, - denied; the side behind a colon."""
    return {f"{'+' if there else '-'}{name}{f':{side}' if side else ''}" for name, there, side in findings(text)}


@pytest.mark.parametrize(
    "text, expected",
    [
        # real sentences of IU X-ray and MedPix, read by hand
        ("No pneumothorax or pleural effusion is seen.", "-pneumothora -effusion"),
        ("No focal consolidation, effusion, or pneumothorax is identified.", "-consolidat -effusion -pneumothora"),
        ("Negative for pneumothorax, pleural effusion, or focal airspace consolidation.",
         "-pneumothora -effusion -consolidat"),
        ("The lungs are clear of focal airspace disease, pneumothorax, or pleural effusion.",
         "-diseas -pneumothora -effusion"),
        ("The lungs are free of any focal infiltrates.", "-infiltrat"),
        ("Mild degenerative changes of the thoracic spine without fracture.", "+degenerat -fractur"),
        ("Lungs are without fracture or destructive lesion, though there are mild degenerative changes.",
         "-fractur -destruct -lesion +degenerat"),
        ("No surrounding edema is present, however, a soft tissue nodule is seen.", "-edema +nodul"),
        ("There are no pleural effusions, and there is a mass.", "-effusion +mass"),
        ("An effusion is seen, and the nodule is not seen.", "+effusion -nodul"),
        ("Absence of pleural effusion. Pneumonia was ruled out.", "-effusion -pneumonia"),
        ("The cardiac silhouette is not enlarged.", "-enlarg"),
        ("The cardiac silhouette is mildly enlarged.", "+enlarg"),
        ("The pulmonary nodules and masses are smaller and not definitely seen.", "-nodul -mass"),
        ("The pulmonary nodules are not definitely seen.", "-nodul"),
        ("There is a left lung opacity, not well appreciated on prior.", "+opaci:left"),
        ("Two densities overlying the right ribs were not present on the prior study.", "+densit:right"),
        ("There is left basilar opacity which is not evident on the lateral exam.", "+opaci:left"),
        ("A mass in the right lobe, and renal parenchyma which is not visualized.", "+mass:right"),
        ("Previously seen left pleural effusion has resolved.", "-effusion:left"),
        ("Interval resolution of the left pleural effusion.", "-effusion:left"),
        ("Resolved interstitial edema.", "-edema"),
        ("An aortic aneurysm cannot be excluded; infiltrate is not excluded.", "+aneurysm +infiltrat"),
        ("No change in the small calcified granuloma in the right upper lobe.", "+calcif:right +granuloma:right"),
        ("No significant interval change in the opacities.", "+opaci"),
        ("A cystic lesion that does not enhance.", "+cyst +lesion -enhanc"),
        ("CT without IV contrast shows a hemorrhage.", "+hemorrhag"),
        ("Contrast-enhanced CT shows no mass.", "-mass"),
        ("Contrast enhanced CT images. Non-enhanced axial CT. Enhanced CT of the chest.", ""),
        ("A ring-enhancing lesion.", "+ring +enhanc +lesion"),
        ("No pneumothorax or other acute abnormality.", "-pneumothora"),
        ("No other acute abnormality or pneumothorax.", "-pneumothora"),
        ("Normal enhancement of the liver.", ""),
        ("The heart size is normal. The lungs are clear.", ""),
        # sides
        ("There is moderate left pleural effusion and small right pleural effusion.", "+effusion:left +effusion:right"),
        ("Effusion on the left, cardiomegaly.", "+effusion:left +cardiomegal"),
        ("Atelectasis and effusion on the left.", "+atelecta:left +effusion:left"),
        ("The left lung is clear and there is a right effusion.", "+effusion:right"),
        ("On the right, there is an effusion.", "+effusion:right"),
        ("Bibasilar opacities, left greater than right.", "+opaci:bilateral"),
        ("Left greater than right pleural effusions.", "+effusion:bilateral"),
        ("Opacities are present in both lower lobes.", "+opaci:bilateral"),
        ("Scarring in the right midlung and left lower lobe.", "+scar:bilateral"),
        ("There is interval development of a large right-sided pleural effusion.", "+effusion:right"),
        ("The right joint is normal, but the left is narrowed.", "+narrow:left"),
        ("Increased pial enhancement of left parietal lobe in comparison with right.", "+enhanc:left"),
        ("No infiltrates are present in the left lower lobe or in the right lung.", "-infiltrat:bilateral"),
        # one finding, whatever its form
        ("Hemorrhagic cysts; haemorrhage, cystic.", "+hemorrhag +cyst"),
        ("Oedema and edema, tumour and tumors, fibrotic and fibrosis.", "+edema +tumor +fibros"),
        ("Neurofibromas; a neurofibroma.", "+neurofibroma"),
        ("A 1.8 cm mass. Multiple\n\u2022 nodules\n\u2022 left cysts", "+mass +nodul +cyst:left"),
        ("", ""),
    ],
)  # fmt: skip
def test_findings_with_denial_and_side(text, expected):
    assert told(text) == set(expected.split())


def test_upper_case_and_tokenised_text_say_the_same():
    assert findings("no pneumothorax . 1.8 cm left mass .") == findings("NO PNEUMOTHORAX. 1.8 CM LEFT MASS.")


def test_a_wrong_side_or_a_wrong_denial_is_no_agreement():
    reference = {"a": ["Left effusion. No mass."]}
    assert counts(reference, {"a": "Left effusion. No mass."}).tolist() == [[2, 0, 0]]
    assert counts(reference, {"a": "Right effusion. No mass."}).tolist() == [[1, 1, 1]]
    assert counts(reference, {"a": "Left effusion. A mass."}).tolist() == [[1, 1, 1]]
    assert counts(reference, {"a": "No mass."}).tolist() == [[1, 0, 1]]


def test_the_reference_that_agrees_best_counts():
    references = {"a": ["A cyst, a mass and an edema.", "A cyst.", "No mass."]}
    assert counts(references, {"a": "cyst"}).tolist() == [[1, 0, 0]]
    assert counts(references, {"a": "a mass and a cyst"}).tolist() == [[2, 0, 1]]
    assert counts({"a": ["a mass", "the chest"]}, {"a": "the chest"}).tolist() == [[0, 0, 0]]


def test_f1_is_of_all_texts_together():
    references = {"a": ["mass and edema"], "b": ["a cyst, a polyp, a fracture"], "c": ["nothing to say of the chest"]}
    hypotheses = {"c": "the chest", "a": "mass", "b": "a cyst, an effusion and no polyp"}
    rows = counts(references, hypotheses)
    assert rows.dtype == np.int64 and rows.tolist() == [[0, 0, 0], [1, 0, 1], [1, 2, 2]]
    assert f1(references, hypotheses) == {"precision": 2 / 4, "recall": 2 / 5, "f1": 4 / 9}
    assert ratios(*rows.sum(0).tolist()) == f1(references, hypotheses)


def test_what_says_nothing_has_no_score():
    assert f1({"a": ["the chest"]}, {"a": "the chest"}) == {"precision": None, "recall": None, "f1": None}
    assert f1({"a": ["a mass"]}, {"a": "the chest"}) == {"precision": None, "recall": 0, "f1": 0}
    assert counts({}, {}).shape == (0, 3)

"""The phrases of caption noise, in two sets that share none: all written for this project, all people made up."""

from __future__ import annotations

from typing import NamedTuple

Texts = tuple[str, ...]


class Phrases(NamedTuple):
    """One set of noise phrases; a field is named for its kind of noise."""

    template: Texts
    placeholder: Texts
    cross_reference_only: Texts
    empty: Texts
    history_only: Texts
    figure_label: Texts
    pointer: Texts
    panel_label: Texts
    seq_params: Texts
    image_n_of_m: Texts
    date: Texts
    history: Texts
    quiz: Texts
    cross_reference: Texts
    citation: Texts
    credit: Texts
    url: Texts
    name: Texts
    hospital: Texts
    legend_key: Texts
    old_person: Texts


PHRASES = {
    "development": Phrases(
        template=("Replace this text - IMAGE DESCRIPTION OR FINDINGS.", "Replace this - description of the findings."),
        placeholder=("N/A", "None", "TBD", "Pending"),
        cross_reference_only=("See Figure 3.", "Same as previous image.", "Image 2"),
        empty=("What is the diagnosis?", "What do you see?"),
        history_only=("The patient presented with three weeks of pain.", "History of a fall last year."),
        figure_label=("Figure {n}: ", "Fig. {n}. ", "Image {n}: "),
        pointer=("(arrow)", "(arrows)", "(white arrow)", "(*)"),
        panel_label=("(a)", "(B)"),
        seq_params=("(TR/TE {tr}/{te})", "(TR {tr}, TE {te})"),
        image_n_of_m=("(image {n} of {m})",),
        date=("({day} March {year})", "(3/{day}/{year})"),
        history=(
            "The patient presented with {n} weeks of pain.",
            "{age} year old who underwent surgery {n} years ago.",
        ),
        quiz=("What is the most likely diagnosis?", "What is your diagnosis?"),
        cross_reference=("See also Fig. {n}.", "Compare with Figure {n}."),
        citation=("PMID: {pmid}.", "Radiology Letters 2004;{n}:112-118."),
        credit=("Image courtesy of Dr. Alma Bergstrand.", "Courtesy of Orla Quill, MD."),
        url=("http://www.example.org/cases/{pmid}", "www.example.com/atlas"),
        name=("Read by Dr. Tobias Venn.",),
        hospital=("Image from Larkmoor General Hospital.",),
        legend_key=("A - Aorta\nK - Kidney", "L = lesion", "M - mass\nV - vessel"),
        old_person=("in a {age}-year-old woman", "in a {age}-year-old man"),
    ),
    "measure": Phrases(
        template=(
            "Replace this line - enter a DESCRIPTION OF THE IMAGE.",
            "REPLACE THIS - description of image and findings",
        ),
        placeholder=("n/a", "none.", "In progress.", "To be determined"),
        cross_reference_only=("Refer to Fig. 2.", "As in the prior image.", "CT image 4"),
        empty=("Can you find the abnormality?", "Where is the lesion?"),
        history_only=("She complained of swelling for two months.", "He was admitted after a road accident."),
        figure_label=("Film #{n}: ", "Figure {n} - ", "Case {n}. "),
        pointer=("(arrowheads)", "(yellow arrow)", "(curved arrow)", "(\u2192)"),
        panel_label=("(A)", "(c)"),
        seq_params=("(TR = {tr}, TE = {te})", "(TR/TE, {tr}/{te} ms)"),
        image_n_of_m=("(slice {n} of {m})", "({n} of {m})"),
        date=("(June {day}, {year})", "(performed {day} October {year})"),
        history=("A {age}-year-old complaining of swelling for {n} months.", "Biopsy was performed {n} days later."),
        quiz=("Can you name the abnormality?", "Which diagnosis fits best?"),
        cross_reference=("Same patient as in Figure {n}.", "(Also shown in Fig. {n}.)"),
        citation=("PubMed ID {pmid}.", "Annals of Phantom Imaging 1998;{n}(2):45-9."),
        credit=("Reprinted with permission of Ivo Castellane.", "Photo credit: Mina Oduya, MD."),
        url=("https://images.example.net/view?id={pmid}", "Source: http://example.edu/teaching"),
        name=("Reviewed by Dr. Henrike Solano.",),
        hospital=("From the files of Saint Aubrey Medical Center.",),
        legend_key=("S - Spleen\nL - Liver", "C indicates cyst.", "F = fluid\nB = bone"),
        old_person=("of a {age}-year-old woman", "of a {age} year old man"),
    ),
}

"""What each tissue is to each modality.

Finding tissues are more visible than in life where a modality would hardly show them (a cyst on a radiograph, a stone
in scintigraphy), so that a kind of finding can occur in every modality and modality alone tells nothing of the kind.
Values below zero do the same for projections, where what lies in front and behind would hide them; no px goes below 0.
"""

from __future__ import annotations

from typing import NamedTuple


class Tissue(NamedTuple):
    """One tissue: CT number (HU), MR proton density, T1 and T2 (ms), radiographic attenuation (water 1),
    ultrasound echo (0..1) and attenuation (per mm), tracer uptake (liver 1), and how mottled it is (0..1)."""

    hu: float
    pd: float
    t1: float
    t2: float
    mu: float
    echo: float
    att: float
    uptake: float
    mottle: float = 0.3


TISSUE: dict[str, Tissue] = {
    #                  HU    PD   T1    T2    mu    echo  att    uptake
    "air": Tissue(-1000, 0.00, 500, 10, 0.0, 0.02, 0.05, 0.00, 0.0),
    "table": Tissue(-150, 0.00, 500, 10, 0.0, 0.0, 0.0, 0.0, 0.0),
    "skin": Tissue(20, 0.55, 500, 45, 0.95, 0.75, 0.004, 0.28),
    "fat": Tissue(-100, 0.95, 250, 65, 0.88, 0.42, 0.004, 0.14),
    "muscle": Tissue(55, 0.72, 900, 42, 1.04, 0.30, 0.004, 0.28),
    "lung": Tissue(-830, 0.10, 900, 30, 0.22, 0.34, 0.014, 0.50, 0.8),
    "vessel": Tissue(60, 0.30, 1300, 60, 1.05, 0.05, 0.001, 0.50),
    "blood": Tissue(150, 0.25, 1300, 90, 1.06, 0.03, 0.000, 0.55, 0.1),
    "heart": Tissue(95, 0.65, 900, 48, 1.05, 0.32, 0.003, 0.50),
    "bone": Tissue(800, 0.10, 400, 12, 1.95, 0.98, 0.25, 1.00),
    "marrow": Tissue(220, 0.75, 380, 60, 1.35, 0.25, 0.15, 0.85, 0.8),
    "cartilage": Tissue(90, 0.70, 900, 35, 1.08, 0.20, 0.01, 0.40),
    "disc": Tissue(85, 0.80, 1000, 75, 1.08, 0.25, 0.02, 0.40),
    "csf": Tissue(6, 1.00, 4000, 1800, 1.00, 0.02, 0.000, 0.05, 0.0),
    "gray": Tissue(38, 0.82, 1300, 92, 1.03, 0.38, 0.004, 1.00),
    "white": Tissue(29, 0.70, 800, 74, 1.02, 0.26, 0.004, 0.45),
    "deepgray": Tissue(38, 0.80, 1150, 80, 1.03, 0.46, 0.004, 1.05),
    "dura": Tissue(60, 0.45, 1000, 40, 1.05, 0.85, 0.005, 0.25),
    "cord": Tissue(38, 0.75, 900, 75, 1.02, 0.40, 0.004, 0.25),
    "liver": Tissue(100, 0.75, 650, 44, 1.05, 0.52, 0.004, 1.00, 0.5),
    "spleen": Tissue(112, 0.80, 1000, 75, 1.05, 0.48, 0.004, 0.95),
    "kidney": Tissue(135, 0.78, 950, 70, 1.05, 0.36, 0.003, 0.90),
    "medulla": Tissue(95, 0.85, 1250, 100, 1.03, 0.20, 0.002, 0.75),
    "sinus": Tissue(-40, 0.90, 320, 75, 0.93, 0.80, 0.004, 0.60),
    "bile": Tissue(8, 1.00, 2200, 500, 1.00, 0.01, 0.000, 0.15, 0.0),
    "pancreas": Tissue(88, 0.75, 600, 48, 1.03, 0.58, 0.004, 0.40, 0.8),
    "wall": Tissue(60, 0.72, 900, 45, 1.04, 0.55, 0.004, 0.35),
    "content": Tissue(35, 0.85, 1200, 90, 1.02, 0.35, 0.006, 0.25, 1.0),
    # findings
    "mass": Tissue(14, 0.92, 1500, 130, 2.60, 0.10, 0.004, 3.20, 1.0),
    "haemorrhage": Tissue(190, 0.92, 320, 30, 2.40, 0.95, 0.004, 2.60, 0.8),
    "cystfluid": Tissue(4, 1.00, 3600, 1500, -0.20, 0.005, 0.000, -0.80, 0.0),
    "lungcyst": Tissue(4, 1.00, 3600, 1500, 1.30, 0.005, 0.000, -0.80, 0.0),
    "cystwall": Tissue(50, 0.75, 900, 60, 1.40, 0.80, 0.003, 0.40),
    "calcium": Tissue(650, 0.04, 500, 8, 4.60, 1.00, 0.30, 7.00, 0.3),
    "effusion": Tissue(12, 1.00, 2800, 700, 1.75, 0.01, 0.000, -0.50, 0.0),
    "gap": Tissue(25, 0.90, 1600, 140, -1.00, 0.02, 0.010, 4.00, 0.1),
    "oedema": Tissue(60, 0.92, 1500, 150, 1.30, 0.20, 0.006, 3.00, 0.5),
    "csfloss": Tissue(4, 1.00, 4000, 1800, -0.60, 0.02, 0.000, -1.20, 0.0),
    "scar": Tissue(45, 0.70, 900, 48, 1.70, 0.95, 0.006, -0.80, 0.5),
    "loss": Tissue(-70, 1.00, 300, 90, -0.60, 0.95, 0.006, -0.80, 0.5),
}


def column(name: str) -> dict[str, float]:
    """One property of every tissue, by tissue name."""
    return {tissue: getattr(row, name) for tissue, row in TISSUE.items()}

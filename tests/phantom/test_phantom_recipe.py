import subprocess
import sys

import pytest

from rgc.phantom import Recipe


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"noise": "loud"}, "noise='loud': choose one of none, medpix, heavy"),
        ({"wordings": "x"}, "wordings='x': choose one of development, measure"),
        ({"modalities": ("ct", "pet")}, "choose one or more of ct, mr, dx, us, nm"),
        ({"modalities": ()}, "choose one or more of"),
        ({"modalities": "ct"}, "give a tuple"),
        ({"cases": 0}, "cases=0: choose 1 to 100000"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
    ],
)
def test_a_wrong_setting_is_named_with_its_choices(wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        Recipe(**wrong)


def test_order_and_repeats_of_modalities_make_no_other_recipe() -> None:
    assert Recipe(modalities=("mr", "ct", "mr")) == Recipe(modalities=("ct", "mr"))


def test_a_recipe_survives_its_file() -> None:
    recipe = Recipe(seed=9, noise="heavy", noise_seed=4, modalities=("us",))
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_importing_the_site_brings_in_no_heavy_package() -> None:
    code = "import sys, rgc.phantom; print({'scrapy', 'torch', 'sqlmodel'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

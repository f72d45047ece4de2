from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from corpus_db.read import UserError
from vlt import backbones, studies
from vlt.config import Config

NAMES = ["backbones", "corpora", "objectives", "vqa-baseline"]
STUDIES = {name: studies.load(name) for name in NAMES}


def taught(study):
    """By arm what pre-training teaches."""
    return {name: arm.pretrain and set(arm.pretrain.get("objectives", ())) for name, arm in study.arms.items()}


def test_there_are_the_papers_four_comparisons():
    assert studies.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_three_seeds_and_settings_that_work(name):
    study = STUDIES[name]
    assert len(set(study.seeds)) >= 3 and study.task == "vqa" and "2306.06494" in study.paper
    for preset in studies.PRESETS.values():
        for arm in study.arms.values():
            Config(**preset["pretrain"] | arm.model | (arm.pretrain or {}))
            Config(**preset["tune"] | arm.model | arm.tune)
    assert set(study.corpora) == {arm.corpus for arm in study.arms.values()} - {studies.MAIN}


def test_objectives_compares_none_masked_words_matching_and_both_at_equal_operations():
    study = STUDIES["objectives"]
    found = taught(study)
    assert (found["none"], found["mlm"], found["itm"], found["mlm-itm"]) == (None, {"mlm"}, {"itm"}, {"mlm", "itm"})
    assert {arm.match for arm in study.arms.values()} == {"flops"} and study.baseline == "none"
    assert study.arms["none-longer"].spend == study.reference == "mlm"
    assert not any(arm.tune or arm.model for arm in study.arms.values())  # nothing else differs


def test_backbones_compares_three_at_equal_parameters_and_in_equal_time():
    study = STUDIES["backbones"]
    assert study.baseline == study.reference == "swin"
    chosen = {name: (arm.model["backbone"], arm.match) for name, arm in study.arms.items()}
    assert chosen == {
        "swin": ("swin_nano", "steps"),
        "vit": ("vit_pico", "steps"),
        "resnet": ("resnet_pico", "steps"),
        "vit-time": ("vit_pico", "time"),
        "resnet-time": ("resnet_pico", "time"),
    }
    sizes = {
        name: sum(part.numel() for part in backbones.build(name, 64, channels=1).parameters())
        for name in ("swin_nano", "vit_pico", "resnet_pico")
    }
    assert all(abs(size / sizes["swin_nano"] - 1) < 0.03 for size in sizes.values()), sizes


def test_the_baseline_compares_masked_words_with_nothing_and_with_a_twin_that_is_blind_throughout():
    study = STUDIES["vqa-baseline"]
    assert taught(study) == {"none": None, "none-longer": None, "mlm": {"mlm"}, "mlm-blind": {"mlm"}}
    assert study.arms["mlm-blind"].pretrain["blind"] and study.arms["mlm-blind"].tune == {"blind": True}
    assert study.arms["none-longer"].spend == "mlm"


def test_corpora_compares_a_small_clean_one_a_larger_noisy_one_and_one_of_a_single_modality():
    study = STUDIES["corpora"]
    clean, noisy, single = (study.corpora[study.arms[name].corpus] for name in ("clean", "noisy", "one-modality"))
    assert clean["noise"] == "none" and noisy["noise"] == "heavy" and noisy["cases"] >= 3 * clean["cases"]
    assert single["modality"] == "ct" and single["noise"] == "none" and single["cases"] == noisy["cases"]
    assert study.arms["none"].pretrain is None and len({corpus["seed"] for corpus in study.corpora.values()}) == 3


def test_the_quick_preset_is_smaller_and_the_full_one_takes_all_cases():
    full, quick = studies.PRESETS["full"], studies.PRESETS["quick"]
    assert full["cases"] == 1.0 > quick["cases"] and quick["pretrain"]["steps"] < full["pretrain"]["steps"]


def test_an_unknown_study_is_refused_in_one_line():
    with pytest.raises(UserError, match="nothing: no such study; there are backbones, corpora, objectives, vqa-bas"):
        studies.load("nothing")
    for name in ("nothing", "../objectives", "__init__"):
        done = CliRunner().invoke(cli.main, ["study", name])
        assert done.exit_code == 1 and done.stderr.splitlines() == [
            f"Error: {name}: no such study; there are {', '.join(NAMES)}"
        ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('match = "flops"', 'match = "luck"', "arm none"),
        ('spend = "mlm"', 'spend = "none"', "arm none-longer"),
        ('spend = "mlm"', 'spend = "nobody"', "arm none-longer"),
        ("[arms.none]", '[arms.none]\ncorpus = "moon"', "arm none"),
        ('reference = "mlm"', 'reference = "none"', "its reference must be pre-trained"),
        ('reference = "mlm"', 'reference = "nobody"', "its reference must be pre-trained"),
        ('baseline = "none"', 'baseline = "nobody"', "its baseline one of the arms"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_naming_it(tmp_path, monkeypatch, old, new, told):
    text = (Path(studies.__file__).parent / "objectives.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(studies.resources, "files", lambda package: tmp_path)
    assert studies.names() == ["mine"]
    with pytest.raises(ValueError, match=rf"^mine\.toml: .*{told}") as caught:
        studies.load("mine")
    assert not isinstance(caught.value, UserError) and "\n" not in str(caught.value)

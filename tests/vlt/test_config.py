import json

import pytest

from corpus_db.errors import UserError
from vlt.config import PRESETS, Config


def test_a_config_is_the_same_in_json_and_back():
    config = Config(objectives={"mlm": 1, "itc": 0.5}, mask_rate_end=0.15, blind=True)
    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "settings,named",
    [
        ({"fusion": "sum"}, "fusion 'sum'"),
        ({"mask": "causal"}, "mask 'causal'"),
        ({"precision": "int8"}, "precision 'int8'"),
        ({"objectives": {}}, "objectives"),
        ({"objectives": {"mlm": 0}}, "objectives"),
        ({"objectives": {"mim": 1}}, "mim"),
        ({"width": 130, "heads": 4}, "130 is no multiple of heads 4"),
        ({"channels": 2}, "channels 2"),
        ({"batch_size": 10, "accumulate": 3}, "10 is no multiple of accumulate 3"),
        ({"mask_rate": 0.0}, "mask_rate 0.0"),
        ({"image_size": 8}, "image_size 8"),
        ({"rate": float("nan")}, "rate nan"),
        ({"steps": "many"}, "steps 'many'"),
        ({"steps": 1.5}, "steps 1.5"),
        ({"backbone": 3}, "backbone 3"),
        ({"hard_negatives": True, "objectives": {"mlm": 1.0, "itm": 1.0}}, "itc"),
    ],
)
def test_a_value_that_cannot_work_is_named(settings, named):
    with pytest.raises(UserError) as raised:
        Config(**settings)
    assert named in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"width": "a"}', '{"nothing": 1}', '{"objectives": 3}', "{"])
def test_text_that_is_no_config_is_refused_in_a_line(text):
    with pytest.raises(UserError) as raised:
        Config.from_json(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_config(name):
    config = Config(**PRESETS[name])
    assert json.loads(config.to_json())["image_size"] == config.image_size

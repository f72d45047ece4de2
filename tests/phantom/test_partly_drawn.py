from rgc.phantom import Recipe, generate
from tests.phantom import partly_drawn

RECIPE = Recipe(cases=5)


def test_the_partly_drawn_site_is_the_whole_one_but_for_images_of_later_cases(tmp_path):
    whole = generate(RECIPE, tmp_path / "whole", workers=1)
    part = partly_drawn.write(tmp_path / "part", 2, RECIPE)
    for name in ("encounters.jsonl", "topics.jsonl"):
        assert (part / name).read_text(encoding="utf-8") == (whole / name).read_text(encoding="utf-8")
    cases = sorted(partly_drawn.plan_sample(RECIPE), key=lambda case: case.case_id)
    drawn = {path.name: path.read_bytes() for path in (part / "images").iterdir()}
    assert drawn.keys() == {image.name for case in cases[:2] for image in case.images}
    assert all(data == (whole / "images" / name).read_bytes() for name, data in drawn.items())

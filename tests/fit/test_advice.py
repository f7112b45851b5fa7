"""What to try next follows from the scores."""

from __future__ import annotations

import pytest

from arseg.fit.advice import advise, below
from arseg.fit.config import config_of

NONE = [None] * 12


def curves(hr=80.0, lr=78.0, warp=None, ar=None):
    """By distance, from the value at every distance or a list."""
    given = {"hr": hr, "lr": lr, "warp": warp, "ar": ar}
    return {name: value if isinstance(value, list) else [value] * 12 for name, value in given.items()}


def advice(found, *, made=False, videos=True, phase="ar", **settings):
    config = config_of(("", {key.replace("__", "."): value for key, value in settings.items()}))
    return advise(found, config, phase=phase, made=made, videos=videos)


def settings_of(found):
    return {key: value for one in found for key, value in one.settings.items()}


def test_nothing_where_ar_is_nowhere_below():
    assert advice(curves(warp=70.0, ar=70.0), made=True, videos=False) == []


def test_the_keyframe_itself_is_not_compared():
    assert below([50.0, 60.0, None], [70.0, 60.5, None]) == {1: 0.5}


def test_what_is_equal_in_the_table_is_not_below():
    assert below([0.0, 34.68, 34.64], [0.0, 34.72, 34.66]) == {2: pytest.approx(0.02)}


def test_near_the_keyframe_it_is_to_count_more():
    warp = [80.0, 79.0, 78.5] + [70.0] * 9
    found = advice(curves(warp=warp, ar=78.0), ar__keyframe_weight=1.0)
    assert settings_of(found)["ar.keyframe_weight"] == 2.0
    assert "at d = 1, 2 by up to 1.0" in found[0].why


def test_a_weak_branch_is_trained_for_longer_or_sees_more():
    found = settings_of(advice(curves(hr=80.0, lr=70.0, warp=78.0, ar=75.0), ar__low_steps=100, ar__scale=0.5))
    assert found["ar.low_steps"] == 200 and found["ar.scale"] == 0.7
    assert "ar.low_steps" not in settings_of(advice(curves(hr=80.0, lr=78.0, warp=79.0, ar=78.5)))


def test_a_fusion_that_takes_away_learns_slower():
    found = settings_of(advice(curves(lr=78.0, warp=79.0, ar=75.0), ar__steps=100, ar__lr=1e-3))
    assert found["ar.steps"] == 200 and found["ar.lr"] == 5e-4


def test_without_videos_they_are_asked_for_and_made_motion_is_doubted():
    found = advice(curves(warp=79.0, ar=78.5), made=True, videos=False)
    assert "data.videos" in settings_of(found) and "made of stills" in found[-1].why


@pytest.mark.parametrize("phase", ["ar", "adapt"])
def test_every_setting_is_one_of_the_config(phase):
    found = advice(curves(hr=80.0, lr=60.0, warp=75.0, ar=55.0), phase=phase, made=True, videos=False)
    assert found and settings_of(found)
    config_of(("", settings_of(found)))
    assert all(key.startswith((phase, "data")) for key in settings_of(found))


def test_adaptation_has_no_full_resolution_to_compare():
    found = curves(lr=78.0, warp=79.0, ar=78.5)
    del found["hr"]
    assert settings_of(advice(found, phase="adapt", adapt__steps=100)) == {"adapt.steps": 200}

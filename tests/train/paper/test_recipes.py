"""The presets hold the paper's figures."""

from __future__ import annotations

from arseg.train.paper.recipes import AR_RECIPES, HR_RECIPES, PaperArRecipe
from arseg.train.paper.train import plain_steps, total_steps


def test_the_presets_are_the_papers():
    for presets in (HR_RECIPES, AR_RECIPES):
        assert set(presets) == {"camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18"}
        for name, recipe in presets.items():
            camvid = name.startswith("camvid")
            assert recipe.arch == name and recipe.flip == 0.5 and recipe.warmup == 0
            assert recipe.epochs == (100 if camvid else 200)
            assert (recipe.optimiser, recipe.lr) == (("adam", 1e-3) if camvid else ("sgd", 1e-2))
            assert recipe.batch == (16 if name == "cityscapes-bise18" else 8)
            assert recipe.crop == ((720, 960) if camvid else (1024, 512))
            assert len(recipe.scales) == (10 if camvid else 8)
            if not camvid:
                assert (recipe.momentum, recipe.weight_decay) == (0.9, 5e-4)
    assert [HR_RECIPES[n].jitter for n in HR_RECIPES] == [0.5, 0.5, 0.4, 0.4]
    assert all(recipe.jitter == 0.5 and recipe.distances == (11,) for recipe in AR_RECIPES.values())
    assert [AR_RECIPES[n].plain_epochs for n in AR_RECIPES] == [50, 50, 0, 0]
    assert [AR_RECIPES[n].auxiliary for n in ("camvid-psp18", "cityscapes-psp18")] == [1.0, 0.4]
    assert [HR_RECIPES[n].normalization for n in HR_RECIPES] == ["camvid", "camvid", "imagenet", "cityscapes-bise"]


def test_steps_come_from_epochs_unless_they_are_given():
    recipe = PaperArRecipe(epochs=100, batch=8)
    assert total_steps(recipe, 367) == 4587 and plain_steps(recipe, 367) == 2294
    short = PaperArRecipe(steps=10)
    assert total_steps(short, 367) == 10 and plain_steps(short, 367) == 5
    assert plain_steps(PaperArRecipe(plain_epochs=0), 367) == 0

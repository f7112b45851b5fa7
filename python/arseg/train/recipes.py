"""Trainings by phase and name: what `--preset` chooses from. A script adds its own with `register`.

>>> RECIPES["hr"].register("mine", Training(MyRecipe(), run))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.registry import Registry

from .default.for_data import ar_for, hr_for
from .default.recipes import LARGE, RESIDUAL, ArRecipe, HrRecipe
from .default.run import run_ar, run_hr
from .inputs import RunInputs
from .paper.recipes import AR_RECIPES, HR_RECIPES
from .paper.run import run_paper_ar, run_paper_hr

if TYPE_CHECKING:
    from arseg.data.opened import OpenData


@dataclass(frozen=True)
class Training:
    """A recipe and what trains by it.

    Attributes:
        recipe: the settings, a dataclass; files and options change its fields (see `settings.changed`).
        run: trains by the settings as they were changed, and returns the path of the weights.
        for_data: `(recipe, data, height, prepared)` -> the recipe that labelled data ask for, before settings change
            it; None: the recipe as it stands. See `recipe_for`.
    """

    recipe: Any
    run: Callable[[Any, RunInputs], Path]
    for_data: Callable[[Any, OpenData | None, int | None, Path | None], Any] | None = None

    def recipe_for(self, data: OpenData | None, height: int | None = None, prepared: Path | None = None) -> Any:
        """What settings are to change: the recipe, for these data where there are some.

        Args:
            height: of the frames as the network sees them: for phase 1 as it was made to, for phase 2 as phase 1's
                does; None where nothing says it.
            prepared: a folder of `arseg prepare`.
        """
        if self.for_data is None or (data is None and prepared is None):
            return self.recipe
        return self.for_data(self.recipe, data, height, prepared)


RECIPES: Mapping[str, Registry[Training]] = {"hr": Registry("preset"), "ar": Registry("preset")}
"""Of phase 1, the network of the keyframes ("hr"), and phase 2, the low-resolution branch and its fusion ("ar")."""

RECIPES["hr"].register("default", Training(HrRecipe(), run_hr, hr_for))
RECIPES["hr"].register("default-large", Training(LARGE, run_hr, hr_for))
RECIPES["ar"].register("default", Training(ArRecipe(), run_ar, ar_for))
RECIPES["ar"].register("residual", Training(RESIDUAL, run_ar))
for _name in HR_RECIPES:
    RECIPES["hr"].register(_name, Training(HR_RECIPES[_name], run_paper_hr))
    RECIPES["ar"].register(_name, Training(AR_RECIPES[_name], run_paper_ar))

"""A loss of one's own for the paper's networks: registered by a script, chosen as `--set loss=smooth`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch.nn.functional as F
from helpers.dataset_trees import camvid_tree

from arseg.labels import IGNORED
from arseg.train import losses
from arseg.train.inputs import RunInputs
from arseg.train.recipes import RECIPES
from arseg.train.settings import changed


# --- the script
@losses.register("smooth")
def smooth(auxiliary_weight):
    """What makes the loss; `auxiliary_weight` is the recipe's `auxiliary`."""

    def loss(logits, auxiliary, labels):
        cross_entropy = partial(F.cross_entropy, ignore_index=IGNORED, label_smoothing=0.1)
        own, *heads = (cross_entropy(losses.at_size(x, labels.shape[1:]), labels) for x in (logits, *auxiliary))
        return {"smooth": own, "heads": auxiliary_weight * sum(heads)}

    return loss


# --- its end


@pytest.mark.slow  # trains
def test_a_recipe_takes_it_by_its_name(tmp_path):
    training = RECIPES["hr"]["camvid-bise18"]
    small = {"steps": 1, "batch": 2, "crop": [64, 64], "log_every": 1, "validate_every": 0, "workers": 1}
    recipe = replace(changed(training.recipe, {**small, "loss": "smooth"}, "options"), auxiliary=0.0)
    training.run(recipe, RunInputs(tmp_path / "run", camvid=camvid_tree(tmp_path / "camvid")))

    (line,) = (json.loads(text) for text in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert line["smooth"] > 0 == line["heads"]

"""A config to begin with: what `arseg fit --init` writes."""

from __future__ import annotations

STARTER = """\
# A run of `arseg fit`. What is left out has the preset's value; `arseg fit THIS --dry-run` shows the plan.
preset = "default"        # or "quick", a tenth of the work, to see that all goes together
output = "runs/mine"      # state, weights and report; a run that is there is gone on with
seed = 0
device = "cpu"            # cpu, cuda, cuda:1
# workers = 8             # processes that make the batches; left out: on a GPU by the cores, else 0
# tensorboard = true

[data]
source = "my-labels"      # images/, labels/, classes.json; or camvid:FOLDER, cityscapes:FOLDER, module.py:DataSet
videos = []               # without labels: ["drive.mp4", "drives/*.mp4"]
licence = ""              # of the data; goes into the weights

[model]
# line = "timm:mobilenetv3_large_100"     # as --model takes it; left out: the package's own network
# weights = "network.pth"                 # trained already: it is taken as it is

[hr]                      # phase 1, the network of the keyframes; any setting of `arseg train hr`
# steps = 2500
# batch = 8
# crop = [288, 384]       # height and width of training views

[ar]                      # phase 2, the low-resolution branch and its fusion; any setting of `arseg train ar`
# scale = 0.5             # of the frames between keyframes
# steps = 2000

[adapt]                   # on videos without labels; any setting of `arseg adapt`
# steps = 1000

[eval]
# stills = 48             # labelled frames of val that are scored; 0: all
# consecutive = true      # val is a video that is labelled frame by frame
# worst = 6               # frames in the picture of the worst
"""

"""The table of data sets. A new one is a file of this folder and a line here, or a line of your own script.

`arseg.data.opened.open_data` asks each in turn whether a folder has its layout.
"""

from __future__ import annotations

from arseg.registry import Registry

from .ade20k import Ade20k
from .bdd100k import Bdd100k
from .camvid import CamVid
from .cityscapes import Cityscapes
from .datasets import DataSet
from .folder import Folder
from .mapillary import Mapillary
from .voc import Voc

DATA_SETS: Registry[DataSet] = Registry("data set")
"""By the name that manifests, presets and options have."""

DATA_SETS.register("camvid", CamVid())
DATA_SETS.register("cityscapes", Cityscapes())
DATA_SETS.register("ade20k", Ade20k())
DATA_SETS.register("voc", Voc())
DATA_SETS.register("bdd100k", Bdd100k())
DATA_SETS.register("mapillary", Mapillary())
DATA_SETS.register("folder", Folder())

"""Semantic segmentation networks of Hugging Face's transformers: by folder, by name, by type."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.extras import loaded, needs
from arseg.labels import CITYSCAPES, IMAGENET_MEAN, IMAGENET_STD, RGB, LabelSet

from .lines import check_known
from .state_dict import listed


class HuggingFaceNetwork(nn.Module):
    """A semantic segmentation network of transformers, which takes normalised RGB and gives logits.

    Where its own code would refuse an image because it is not of its `image_size`, or not square, what that code has
    for other sizes is switched on: interpolated position embeddings, DPT's grid of patches.

    Args:
        model: of `AutoModelForSemanticSegmentation`.
        bgr: whether it takes blue, green, red.
        label_set: None: classes by the model's `id2label`, ImageNet's statistics.

    Attributes:
        label_set, input_height: see `SegmentationNetwork`.
        made_from: the config of which `arseg.weights.build` makes the same network.
    """

    label_set: LabelSet
    input_height: int | None = None

    def __init__(self, model: nn.Module, bgr: bool = False, label_set: LabelSet | None = None):
        super().__init__()
        self.model = model
        self.bgr = bgr
        config: Any = model.config
        self.label_set = label_set or _labels(config, IMAGENET_MEAN, IMAGENET_STD)
        settings = json.loads(config.to_json_string())
        self.made_from: dict[str, Any] = {"network": "transformers", "settings": settings, "bgr": bgr}
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of the images that it was trained on, where its config says it."""
        size = getattr(self.model.config, "image_size", None)
        return (size, size) if isinstance(size, int) else None if size is None else (int(size[0]), int(size[1]))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, num_classes, h, w]`, at the size that the model gives."""
        height, width = image.shape[2], image.shape[3]
        other = self._interpolates and self.image_size != (height, width)
        options = {"interpolate_pos_encoding": True} if other else {}
        with self._patches(height, width):
            return self.model(pixel_values=image.flip(1) if self.bgr else image, return_dict=True, **options).logits

    @contextmanager
    def _patches(self, height: int, width: int) -> Iterator[None]:
        """Tells DPT's neck the grid of patches, which DPT's segmentation network leaves out: it would be square."""
        if height == width or not isinstance(self.model, loaded(_DPT, "DPTForSemanticSegmentation")):
            yield
            return
        model: Any = self.model
        patch = model.config.patch_size
        grid = {"patch_height": height // patch, "patch_width": width // patch}
        hook = model.neck.register_forward_pre_hook(
            lambda _, given, named: (given, {**named, **grid}), with_kwargs=True
        )
        try:
            yield
        finally:
            hook.remove()


_DPT = "transformers.models.dpt.modeling_dpt"


def transformers_network(
    name: str = "",
    *,
    num_classes: int | None = None,
    pretrained: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    bgr: bool = False,
    **options: Any,
) -> HuggingFaceNetwork:
    """A semantic segmentation network of transformers, with its classes and the statistics of its image processor.

    Args:
        name: a folder of `save_pretrained`, whose weights are loaded; a type such as "segformer", which gets random
            weights; or the name of a checkpoint on the Hugging Face Hub.
        num_classes: with another number than the weights have, the last layers start anew.
        pretrained: whether a checkpoint may be fetched; False: it must be in the Hub's cache on this machine.
        settings, bgr: in place of a name, the config as its JSON and the order of the channels; random weights.
        options: of the config.

    Raises `InputError`, one sentence, for what cannot be found or fetched, is of another kind, or has no weights for
    its segmentation head.
    """
    with needs("transformers", f"transformers:{name}"):
        import transformers
    folder = Path(name) / "config.json"
    known = _types()
    if settings is not None:
        config = transformers.CONFIG_MAPPING[settings["model_type"]].from_dict(dict(settings))
    elif name in transformers.CONFIG_MAPPING and not folder.is_file():
        _check_kind(transformers.CONFIG_MAPPING[name](), f"transformers:{name}")
        _check_options(name, options)
        config = transformers.AutoConfig.for_model(name, **_classes(num_classes), **options)
    else:
        if not name or (Path(name).is_dir() and not folder.is_file()):
            raise InputError(
                f"model: transformers:{name} is no folder of save_pretrained (no config.json); expected one, a type "
                f"({', '.join(known)}), or a checkpoint's name"
            )
        return _of_weights(name, folder.is_file(), num_classes, bool(pretrained), options)
    _check_kind(config, name or config.model_type)
    model = transformers.AutoModelForSemanticSegmentation.from_config(config)
    return HuggingFaceNetwork(model.float(), bgr)


def of_transformers(model: nn.Module) -> nn.Module:
    """A model of transformers as `HuggingFaceNetwork`, with what the files it came from say; others as they are."""
    if not isinstance(model, loaded("transformers.modeling_utils", "PreTrainedModel")):
        return model
    config: Any = model.config
    _check_kind(config, type(model).__name__)
    return _prepared(
        model, str(getattr(config, "name_or_path", "") or getattr(config, "_name_or_path", "")), local=True
    )


def _of_weights(
    name: str, is_folder: bool, num_classes: int | None, fetch: bool, options: dict[str, Any]
) -> HuggingFaceNetwork:
    import transformers

    local = is_folder or not fetch
    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **where)
    except (OSError, ValueError) as error:
        raise InputError(_not_found(name, is_folder, fetch, error)) from error
    _check_kind(config, name)
    _check_options(config.model_type, options)
    for key, value in options.items():
        setattr(config, key, value)
    changed = num_classes is not None and num_classes != config.num_labels
    if changed:
        config.num_labels = num_classes
    if torch.get_default_device().type == "meta":  # to count what it computes
        return _prepared(transformers.AutoModelForSemanticSegmentation.from_config(config), name, local)
    if not local:
        print(f"transformers:{name}: fetched from the Hugging Face Hub, unless it is here already", file=sys.stderr)
    try:
        with _quiet():
            model, found = transformers.AutoModelForSemanticSegmentation.from_pretrained(
                name,
                config=config,
                ignore_mismatched_sizes=changed,
                output_loading_info=True,
                dtype=torch.float32,
                **where,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(_not_found(name, is_folder, fetch, error)) from error
    missing = sorted(found["missing_keys"])
    if missing and num_classes is None:
        raise InputError(
            f"model: transformers:{name} lacks {len(missing)} of the network's weights ({listed(missing, 3)}), so it "
            "segments nothing yet; give ?num_classes=… to train it"
        )
    return _prepared(model, name, local)


def _not_found(name: str, is_folder: bool, fetch: bool, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if is_folder or fetch:
        return f"model: transformers:{name} cannot be loaded: {reason}"
    return (
        f"model: transformers:{name} is neither a folder, nor one of {', '.join(_types())}, nor a checkpoint on this "
        "machine; give ?pretrained=true with `arseg adapt` or `arseg train` to fetch it from the Hugging Face Hub"
    )


def _types() -> list[str]:
    """Types of model that give logits of each pixel."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

    return list(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def _check_kind(config: Any, name: str) -> None:
    """Raises `InputError` for a model that gives no logits of each pixel."""
    import transformers

    if type(config) in transformers.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        return
    masks = type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
    what = "predicts masks and a class for each, not" if masks else "is of another kind than those that give"
    raise InputError(
        f"model: {name} ({config.model_type}) {what} logits of each pixel, so that there is no feature to fuse; "
        f"expected one of {', '.join(_types())}"
    )


def _check_options(model_type: str, options: Mapping[str, Any]) -> None:
    """Raises `InputError` for a setting that the config does not have: transformers would keep it and say nothing."""
    import transformers

    if options:
        has = transformers.AutoConfig.for_model(model_type).to_dict()
        for key in options:
            check_known("model", f"the config of {model_type}", key, list(has))


def _classes(num_classes: int | None) -> dict[str, int]:
    return {} if num_classes is None else {"num_labels": num_classes}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and warnings: what matters of them is said otherwise."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


# Classes, statistics and size -----------------------------------------------------------------------------------------


def _prepared(model: nn.Module, name: str, local: bool) -> HuggingFaceNetwork:
    """The network with what the image processor beside its weights says, or else with its type's defaults."""
    config: Any = model.config
    processor = _processor(config, name, local)
    mean, std = _statistics(processor)
    network = HuggingFaceNetwork(
        model, bool(getattr(processor, "do_flip_channel_order", False)), _labels(config, mean, std)
    )
    network.input_height = _height(processor)
    return network


def processor_height(line: str | None) -> int | None:
    """To how many rows the image processor of a line `transformers:…` resizes images; None: nothing says it.

    It is fetched where the line may fetch the network, too (`?pretrained=true`).
    """
    library, _, name = (line or "").partition("?")[0].partition(":")
    if library != "transformers":
        return None
    with needs("transformers", f"transformers:{name}"):
        import transformers  # noqa: F401
    fetch = "pretrained=true" in (line or "").lower()
    return _height(_processor_of_files(name, local=Path(name).is_dir() or not fetch))


def _height(processor: Any) -> int | None:
    if isinstance(processor, type) or not getattr(processor, "do_resize", False):
        return None
    size: Any = getattr(processor, "size", None) or {}
    return size.get("height") or size.get("shortest_edge")


def _processor_of_files(name: str, local: bool) -> Any:
    """The image processor that lies in a folder or beside a checkpoint; None where there is none."""
    import transformers

    with suppress(OSError, ValueError, ImportError, TypeError, KeyError), _quiet():
        if name:
            return transformers.AutoImageProcessor.from_pretrained(
                name, local_files_only=local, trust_remote_code=False
            )
    return None


def _processor(config: Any, name: str, local: bool) -> Any:
    """The image processor, or the class of the type's own where no file has one; None where there is neither."""
    import transformers

    own = _processor_of_files(name, local)
    if own is not None:
        return own
    with suppress(KeyError, ImportError):
        found: Any = transformers.IMAGE_PROCESSOR_MAPPING[type(config)]
        classes = found.values() if isinstance(found, Mapping) else found if isinstance(found, tuple) else (found,)
        return next((made for made in classes if isinstance(made, type)), None)
    return None


def _statistics(processor: Any) -> tuple[RGB, RGB]:
    """RGB mean and deviation of values in 0..1 that make `(image * factor - mean) / std`, as the processor does."""
    if processor is None:
        return IMAGENET_MEAN, IMAGENET_STD
    factor = getattr(processor, "rescale_factor", None) or 1 / 255
    scale = 255 * factor if getattr(processor, "do_rescale", True) else 255.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if getattr(processor, "do_normalize", True):
        mean, std = processor.image_mean, processor.image_std
    return cast(RGB, tuple(float(x) / scale for x in mean)), cast(RGB, tuple(float(x) / scale for x in std))


def _labels(config: Any, mean: RGB, std: RGB) -> LabelSet:
    """The classes by `id2label`; those of Cityscapes get its colours."""
    names = tuple(str(config.id2label.get(label, f"LABEL_{label}")) for label in range(config.num_labels))
    if tuple(name.lower() for name in names) == CITYSCAPES.classes:
        return LabelSet(CITYSCAPES.name, names, CITYSCAPES.palette, mean, std)
    unnamed = names == tuple(f"LABEL_{label}" for label in range(len(names)))
    return LabelSet.of(len(names), mean=mean, std=std, classes=None if unnamed else names)

"""Weights: files of them, the networks that they are of, and those that the package ships."""

from __future__ import annotations

from .files import load_checkpoint, read_checkpoint, save_checkpoint

__all__ = ["load_checkpoint", "read_checkpoint", "save_checkpoint"]

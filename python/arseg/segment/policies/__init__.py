"""What a stream's compute is spent on: where keyframes are, and what is made of the frames between them.

A script adds one of its own: a class with what `Policy` lists, registered under a name.
"""

from . import named  # noqa: F401 (registers them)
from .amounts import Amount, Costs
from .base import POLICIES, Policy
from .spaced import Spaced

__all__ = ["POLICIES", "Amount", "Costs", "Policy", "Spaced"]

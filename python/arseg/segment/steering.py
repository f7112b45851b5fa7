"""What a user asks of the compute: a budget, a bound on the slowest frame, a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from arseg.errors import InputError

from .modes import Way
from .policies import POLICIES, Amount, Policy
from .policies.amounts import Unit

PolicyMaker = Callable[[Amount | None, Amount | None], Policy]
"""What makes the policy of a stream, of a budget for the mean frame and a bound on the slowest one."""

USUAL = "bidirectional"
"""The policy where a budget is given, and no policy."""

USUAL_LIVE = "ensemble"
"""The same with a bound, of networks with a low-resolution branch."""


@dataclass(frozen=True)
class Steering:
    """A policy for each stream.

    Attributes:
        make: makes it.
        budget, slowest: of the same unit.
    """

    make: PolicyMaker
    budget: Amount | None
    slowest: Amount | None

    @classmethod
    def of(
        cls, budget: str | Amount | None, slowest: str | Amount | None, policy: str | PolicyMaker | None
    ) -> Steering | None:
        """None where nothing is asked for; raises `InputError` for amounts and names that there are not."""
        if budget is None and slowest is None and policy is None:
            return None
        amounts = [
            None if given is None else Amount.parse(given, name)
            for name, given in (("budget", budget), ("slowest", slowest))
        ]
        mean = amounts[0]
        if mean is not None and mean.unit == "hr" and mean.value > 1:  # of the slowest: a keyframe may cost more
            raise InputError(f"budget: expected at most 100%, the network on every frame, got {mean}")
        units = {amount.unit for amount in amounts if amount is not None}
        if len(units) > 1:
            raise InputError(f"budget, slowest: expected amounts in one unit, got {amounts[0]} and {amounts[1]}")
        make = POLICIES[policy or USUAL] if policy is None or isinstance(policy, str) else policy
        return cls(make, *amounts)

    def for_branch(self, policy: str | PolicyMaker | None) -> Steering:
        """Of a network that has one; `policy` as it was given."""
        if policy is not None or self.slowest is None:
            return self
        return replace(self, make=POLICIES[USUAL_LIVE])

    @property
    def unit(self) -> Unit:
        return next((amount.unit for amount in (self.budget, self.slowest) if amount is not None), "hr")

    @property
    def ways(self) -> frozenset[Way]:
        return self.policy().ways

    def policy(self) -> Policy:
        """A new one."""
        return self.make(self.budget, self.slowest)

"""Counts the instructions that a warp issues in a kernel, from its SASS and how often its loops run.

A warp takes one way through the kernel: of two sides of a branch the one that costs more, but around loops that do not
run, and through an instruction that is named. An instruction counts whatever its predicate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LINE = re.compile(r"/\*(?P<at>[0-9a-f]{4,})\*/\s+(?:@(?P<predicate>!?U?P\w+)\s+)?(?P<text>[^;]+?)\s*;")
STEERED = 1e9  # more than any way costs


@dataclass(frozen=True)
class Instruction:
    at: int
    predicate: str | None
    text: str  # opcode and operands

    @property
    def opcode(self) -> str:
        return self.text.split()[0]

    @property
    def target(self) -> int:
        return int(self.text.split()[-1].rstrip(")").lstrip("`("), 16)


@dataclass(frozen=True)
class Loop:
    """A loop is told from others by what it holds, and what a loop around it holds: regular expressions."""

    holds: str
    trips: float  # in one turn of what is around it; 0: a warp goes around it where it can
    within: str = ""


@dataclass(frozen=True)
class Way:
    loops: Sequence[Loop]  # the first that fits is taken
    through: str = ""  # an instruction that the warp passes where it can
    around: str = ""  # and one that it does not pass where it can


@dataclass
class Block:
    instructions: list[Instruction]
    after: list[int] = field(default_factory=list)  # addresses of blocks
    times: float = 1.0

    def cost(self, way: Way) -> float:
        passed = bool(way.through) and holds([self], way.through)
        passed_by = self.times == 0 or (bool(way.around) and holds([self], way.around))
        return self.times * len(self.instructions) + STEERED * (passed - passed_by)


def functions(text: str) -> dict[str, list[Instruction]]:
    """Of the output of `cuobjdump -sass`, by mangled name."""
    found = {}
    for part in re.split(r"^\s*Function : ", text, flags=re.MULTILINE)[1:]:
        name, _, code = part.partition("\n")
        found[name.strip()] = [
            Instruction(int(line["at"], 16), line["predicate"], line["text"]) for line in LINE.finditer(code)
        ]
    return found


def blocks_of(code: Sequence[Instruction]) -> dict[int, Block]:
    """Basic blocks by address, in order of it."""
    # A call is of a slow path, such as of a denormal divisor: taken as if it returned at once. BSYNC goes on behind
    # itself; BRA.DIV is for warps that have come apart.
    jumps = {i.at: i for i in code if i.opcode.split(".")[0] == "BRA" and ".DIV" not in i.opcode}
    ends = {i.at for i in code if i.opcode.split(".")[0] in ("EXIT", "RET")}
    unknown = {i.opcode for i in code if i.opcode.split(".")[0] in ("BRX", "JMP", "JMX", "BRXU")}
    if unknown:
        raise ValueError(f"branches to places that are not constants: {', '.join(sorted(unknown))}")
    leaders = {code[0].at, *(jump.target for jump in jumps.values())}
    leaders |= {later.at for i, later in pairwise(code) if i.at in jumps or i.at in ends}
    blocks: dict[int, Block] = {}
    for i, later in zip(code, [*code[1:], None], strict=True):
        if i.at in leaders:
            block = blocks[i.at] = Block([])
        block.instructions.append(i)
        if i.at in jumps:
            block.after.append(i.target)
        always = i.predicate is None and (i.at in jumps or i.at in ends)
        if later is not None and later.at in leaders and not always:
            block.after.append(later.at)
    return blocks


def back_edges(blocks: dict[int, Block]) -> tuple[list[int], list[tuple[int, int]]]:
    """Blocks that are reached, each after all that lead to it; edges from the end of a loop to its beginning."""
    order: list[int] = []
    back: list[tuple[int, int]] = []
    state: dict[int, bool] = {}  # True: on the way that is being searched
    stack = [(next(iter(blocks)), 0)]
    while stack:
        at, i = stack.pop()
        state[at] = True
        if i == len(blocks[at].after):
            state[at] = False
            order.append(at)
            continue
        stack.append((at, i + 1))
        to = blocks[at].after[i]
        if state.get(to):
            back.append((at, to))
        elif to not in state:
            stack.append((to, 0))
    return order[::-1], back


def loops_of(blocks: dict[int, Block], back: Sequence[tuple[int, int]]) -> dict[int, set[int]]:
    """The blocks of each loop, by where it begins."""
    before: dict[int, list[int]] = {at: [] for at in blocks}
    for at, block in blocks.items():
        for to in block.after:
            before[to].append(at)
    loops: dict[int, set[int]] = {}
    for end, begin in back:
        body = loops.setdefault(begin, {begin})
        todo = [end]
        while todo:
            at = todo.pop()
            if at not in body:
                body.add(at)
                todo += before[at]
    return loops


def holds(blocks: Sequence[Block], pattern: str) -> bool:
    text = "\n".join(i.text for block in blocks for i in block.instructions)
    return re.search(pattern, text, re.DOTALL) is not None


def path(code: Sequence[Instruction], way: Way) -> list[Block]:
    """The blocks that a warp passes, with how often."""
    blocks = blocks_of(code)
    order, back = back_edges(blocks)
    loops = {begin: ([blocks[at] for at in sorted(body)], body) for begin, body in loops_of(blocks, back).items()}
    for begin, (inside, body) in loops.items():
        around = [outer for outer, more in loops.values() if body < more]
        fits = [
            loop
            for loop in way.loops
            if holds(inside, loop.holds) and (not loop.within or any(holds(outer, loop.within) for outer in around))
        ]
        if not fits:
            raise ValueError(f"how often the loop at {begin:#x} runs is not said")
        for block in inside:
            block.times *= fits[0].trips
    best: dict[int, tuple[float, list[int]]] = {order[0]: (0.0, [])}
    ends: list[tuple[float, list[int]]] = []
    for at in order:
        block = blocks[at]
        cost, so_far = best[at]
        cost += block.cost(way)
        here = [*so_far, at]
        if block.instructions[-1].opcode == "EXIT":
            ends.append((cost, here))
        for to in block.after:
            if (at, to) not in back and cost > best.get(to, (-float("inf"), []))[0]:
                best[to] = (cost, here)
    return [blocks[at] for at in max(ends)[1]]


def count(code: Sequence[Instruction], way: Way) -> float:
    """Instructions of one warp."""
    return sum(block.times * len(block.instructions) for block in path(code, way))

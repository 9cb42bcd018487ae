"""The order of a repository's files: dependencies before what depends on them.

Input: a dependency graph, `graph[i]` the files that file i depends on (indices of files in path
order). Output: one list of files per weakly connected subgraph, and what becomes of the edges.

    scc      cycles are condensed, the rest is topological: no edge outside a cycle is violated
    paper    Algorithm 1 of DeepSeek-Coder (arXiv:2401.14196) as published: a cycle also disturbs
             the files around it
    random   each subgraph shuffled, as for DeepSeek-Coder-V2

All are deterministic: ties go to the smaller index. Not here: where edges come from (graph.py).
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codling.corpus.components import unite

Order = Literal["scc", "paper", "random"]
Graph = Sequence[Sequence[int]]


@dataclass(frozen=True)
class EdgeCounts:
    """How an order treats the edges of a graph."""

    edges: int
    cyclic: int
    """Edges between files of one cycle: some of them must be violated."""
    violated: int
    """Edges whose dependency comes later."""
    violated_acyclic: int
    """Those of them outside cycles: always 0 for `scc`."""


def arrange_files(graph: Graph, order: Order, seed: int = 0) -> list[list[int]]:
    """The files of every weakly connected subgraph in order; subgraphs by their smallest index.

    >>> arrange_files([[1], [], []], "scc")
    [[1, 0], [2]]
    """
    subgraphs = connected_subgraphs(graph)
    if order == "scc":
        position = {file: i for i, file in enumerate(_scc_order(graph))}
        return [sorted(files, key=position.__getitem__) for files in subgraphs]
    if order == "paper":
        return [_paper_order(graph, files) for files in subgraphs]
    generator = random.Random(seed)
    return [generator.sample(files, len(files)) for files in subgraphs]


def connected_subgraphs(graph: Graph) -> list[list[int]]:
    """The weakly connected subgraphs, each in ascending order, by their smallest index."""
    root = list(range(len(graph)))
    edges = [(file, target) for file, targets in enumerate(graph) for target in targets]
    unite(root, [file for file, _ in edges], [target for _, target in edges])
    members: dict[int, list[int]] = {}
    for file, first in enumerate(root):
        members.setdefault(first, []).append(file)
    return list(members.values())


def count_edges(graph: Graph, orders: Sequence[Sequence[int]]) -> EdgeCounts:
    """How `orders`, which hold every file once, treat the edges inside each of them."""
    place = {file: (part, i) for part, files in enumerate(orders) for i, file in enumerate(files)}
    component = [0] * len(graph)
    for number, members in enumerate(strong_components(graph)):
        for file in members:
            component[file] = number
    edges = cyclic = violated = violated_acyclic = 0
    for file, targets in enumerate(graph):
        for target in targets:
            if place[file][0] == place[target][0]:
                in_cycle = component[file] == component[target]
                late = place[target][1] > place[file][1]
                edges += 1
                cyclic += in_cycle
                violated += late
                violated_acyclic += late and not in_cycle
    return EdgeCounts(edges, cyclic, violated, violated_acyclic)


def strong_components(graph: Graph) -> list[list[int]]:
    """Strongly connected components, each after those it depends on.

    Pearce's form of Tarjan's algorithm (one number per file), with a stack of its own: chains of
    imports are longer than Python's recursion limit.

    >>> strong_components([[1], [0, 2], []])
    [[2], [0, 1]]
    """
    reached = [0] * len(graph)
    """0 before a file is reached, then the order of reaching, then `done`."""
    done = len(graph) + 1
    n_reached = 0
    open_files: list[int] = []
    found: list[list[int]] = []
    for start in range(len(graph)):
        work = [(start, 0, 0)] if not reached[start] else []
        while work:
            file, next_target, own_number = work.pop()
            if not own_number:
                n_reached += 1
                reached[file] = own_number = n_reached
                open_files.append(file)
            for i in range(next_target, len(graph[file])):
                target = graph[file][i]
                if not reached[target]:
                    work.extend([(file, i, own_number), (target, 0, 0)])
                    break
                if reached[target] != done:
                    reached[file] = min(reached[file], reached[target])
            else:
                if reached[file] == own_number:
                    found.append(_close(open_files, file))
                    for member in found[-1]:
                        reached[member] = done
    return found


def _close(open_files: list[int], first: int) -> list[int]:
    """Take `first` and all that was reached after it off the stack."""
    members = [open_files.pop()]
    while members[-1] != first:
        members.append(open_files.pop())
    return sorted(members)


def _scc_order(graph: Graph) -> list[int]:
    """All files, after the edges that some cycle must lose are taken out of the graph.

    What is left has no cycle and is walked depth first by path, so that a file stands soon after
    what it depends on: docs/repository-order.md compares the distances with other orders.
    """
    kept = [list(targets) for targets in graph]
    for members in strong_components(graph):
        place = {file: i for i, file in enumerate(_untangle(graph, members))}
        for file in members if len(members) > 1 else ():
            kept[file] = [t for t in graph[file] if place.get(t, -1) < place[file]]
    return [file for (file,) in strong_components(kept)]


def _untangle(graph: Graph, members: Sequence[int]) -> list[int]:
    """An order of one cycle's files with few violated edges (Eades, Lin and Smyth, 1993).

    Files without open dependencies go first, files that no other waits for go last; where there are
    neither, that file goes first for which most others wait, less those that it waits for itself.
    """
    inside = set(members)
    needs = {f: {t for t in graph[f] if t in inside} for f in members}
    needed: dict[int, set[int]] = {f: set() for f in members}
    for file, targets in needs.items():
        for target in targets:
            needed[target].add(file)
    first: list[int] = []
    last: list[int] = []
    while needs:
        free = [f for f, targets in needs.items() if not targets]
        ends = [] if free else [f for f, waiting in needed.items() if not waiting]
        best = [] if free or ends else [_pick_most_wanted(needs, needed)]
        for file in free or ends or best:
            (last if ends else first).append(file)
            for target in needs.pop(file):
                needed[target].discard(file)
            for other in needed.pop(file):
                needs[other].discard(file)
    return first + last[::-1]


def _pick_most_wanted(needs: dict[int, set[int]], needed: dict[int, set[int]]) -> int:
    return max(needs, key=lambda f: (len(needed[f]) - len(needs[f]), -f))


def _paper_order(graph: Graph, files: Sequence[int]) -> list[int]:
    """Algorithm 1: always the file of least in-degree, the number of its open dependencies."""
    waiting: dict[int, list[int]] = {f: [] for f in files}
    degree = {f: len(graph[f]) for f in files}
    for file in files:
        for target in graph[file]:
            waiting[target].append(file)
    heap = [(degree[f], f) for f in files]
    heapq.heapify(heap)
    taken: set[int] = set()
    order: list[int] = []
    while heap:
        _, file = heapq.heappop(heap)
        if file in taken:
            continue
        taken.add(file)
        order.append(file)
        for other in waiting[file]:
            degree[other] -= 1
            heapq.heappush(heap, (degree[other], other))
    return order

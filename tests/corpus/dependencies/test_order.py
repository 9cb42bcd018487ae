"""Orders of graphs small enough to check by hand."""

import random

from codling.corpus.dependencies.order import (
    EdgeCounts,
    arrange_files,
    connected_subgraphs,
    count_edges,
    strong_components,
)

# 0 and 1 import each other; 2 imports 0; 3 imports 2; 4 stands alone.
CYCLE = [[1], [0], [0], [2], []]


def random_graph(n: int, n_edges: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)
    pairs = {(generator.randrange(n), generator.randrange(n)) for _ in range(n_edges)}
    return [sorted(t for f, t in pairs if f == file and t != file) for file in range(n)]


def test_subgraphs_are_weakly_connected() -> None:
    assert connected_subgraphs(CYCLE) == [[0, 1, 2, 3], [4]]


def test_scc_keeps_every_edge_outside_the_cycle() -> None:
    orders = arrange_files(CYCLE, "scc")
    assert orders == [[0, 1, 2, 3], [4]]
    assert count_edges(CYCLE, orders) == EdgeCounts(
        edges=4, cyclic=2, violated=1, violated_acyclic=0
    )


def test_the_published_algorithm_lets_a_cycle_break_an_edge_outside_it() -> None:
    # 1, 2 and 3 need each other (in-degree 2); 0 needs only 1 (in-degree 1), and so goes first.
    graph = [[1], [2, 3], [1, 3], [1, 2]]
    orders = arrange_files(graph, "paper")
    assert orders == [[0, 1, 2, 3]]
    assert count_edges(graph, orders).violated_acyclic == 1
    assert count_edges(graph, arrange_files(graph, "scc")).violated_acyclic == 0


def test_the_published_algorithm_takes_the_least_in_degree_first() -> None:
    # README example: main (0) needs model (1) and utils (2); model needs utils.
    assert arrange_files([[1, 2], [2], []], "paper") == [[2, 1, 0]]


def test_random_is_a_permutation_and_depends_only_on_the_seed() -> None:
    graph = random_graph(30, 60, seed=0)
    first = arrange_files(graph, "random", seed=5)
    assert first == arrange_files(graph, "random", seed=5)
    assert first != arrange_files(graph, "random", seed=6)
    assert [sorted(files) for files in first] == connected_subgraphs(graph)


def test_scc_violates_no_acyclic_edge_of_any_random_graph() -> None:
    for seed in range(100):
        graph = random_graph(25, 10 + seed, seed)
        orders = arrange_files(graph, "scc")
        assert sorted(f for files in orders for f in files) == list(range(25))
        counts = count_edges(graph, orders)
        assert counts.violated_acyclic == 0
        assert counts.violated <= counts.cyclic


def test_components_come_after_what_they_depend_on() -> None:
    for seed in range(50):
        graph = random_graph(20, 30, seed)
        number = {f: i for i, files in enumerate(strong_components(graph)) for f in files}
        assert sorted(number) == list(range(20))
        assert all(number[t] <= number[f] for f, targets in enumerate(graph) for t in targets)


def test_a_chain_longer_than_the_recursion_limit_is_ordered() -> None:
    graph = [[i + 1] for i in range(20_000)] + [[]]
    assert arrange_files(graph, "scc") == [list(range(20_000, -1, -1))]

"""Ratings of models from games between pairs of them (Bradley and Terry, 1952), with intervals.

Input: games, each with two players, what the first one got (1, 0.5 or 0) and a weight. Output:
ratings on the scale of chess (a lead of 400 is ten to one), and expected shares against a player.

Style control adds features of the two texts to a game's logit: what a rating then says is how a
model does at equal style. As published for Arena-Hard, that fit has a ridge of 1 (scikit-learn's
default), and the plain one has none.

Not here: what a game is (evaluate/judging/arena.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SCALE, START = 400.0, 1000.0
_LOG_10 = float(np.log(10.0))
_BOUND = 12.0
"""Largest difference that a rating can show: a model that wins every game has no rating."""


@dataclass(frozen=True, kw_only=True)
class Games:
    """Games as arrays of one length."""

    players: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    won: Array
    """What the first player got."""
    features: Array
    """[n, k]: of style, standardised; k may be 0."""

    def at(self, places: NDArray[np.int64]) -> "Games":
        """Some of the games, some of them several times."""
        return Games(
            players=self.players,
            first=self.first[places],
            second=self.second[places],
            won=self.won[places],
            features=self.features[places],
        )


def make_games(pairs: Sequence[tuple[str, str, float]], features: Array | None = None) -> Games:
    """Games from (first, second, what the first got); players in the order of their appearance."""
    names = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
    players = tuple(dict.fromkeys(names))
    places = {name: i for i, name in enumerate(players)}
    return Games(
        players=players,
        first=np.array([places[pair[0]] for pair in pairs]),
        second=np.array([places[pair[1]] for pair in pairs]),
        won=np.array([pair[2] for pair in pairs], dtype=np.float64),
        features=np.zeros((len(pairs), 0)) if features is None else features,
    )


def rate(games: Games, baseline: str, ridge: float = 0.0) -> dict[str, float]:
    """Each player's rating; `baseline` has 1000.

    Every game counts twice, as in the published fit, which makes a tie a win for each: that
    matters only to the ridge.

    >>> round(rate(make_games([("a", "b", 1.0), ("a", "b", 1.0), ("a", "b", 0.0)]), "b")["a"])
    1120
    """
    n_players = len(games.players)
    x_GK, won_G, n_G = _group(games)
    weights = fit_logistic(x_GK, 2 * won_G, 2 * n_G, ridge)
    ratings = SCALE * weights[:n_players] + START
    ratings += START - ratings[games.players.index(baseline)]
    return dict(zip(games.players, ratings.tolist(), strict=True))


def expected_share(rating: float, other: float = START) -> float:
    """The share of games that a player is expected to win against another.

    >>> round(expected_share(1400.0), 4)
    0.9091
    """
    return float(1 / (1 + 10 ** ((other - rating) / SCALE)))


def bootstrap(
    games: Games, fit: Callable[[Games], dict[str, float]], rounds: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The 2.5th and 97.5th percentile of each rating over `rounds` drawings of all games.

    Drawn as pandas draws (`sample(frac=1, replace=True)` after `numpy.random.seed(seed)`), so that
    the same games in the same order give the published intervals.
    """
    random = np.random.RandomState(seed)  # the published drawings
    n = len(games.won)
    drawn = [fit(games.at(random.choice(n, size=n, replace=True))) for _ in range(rounds)]
    found = {}
    for name in games.players:
        values = [ratings[name] for ratings in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        found[name] = (float(low), float(high))
    return found


def fit_logistic(x_GK: Array, won_G: Array, n_G: Array, ridge: float) -> Array:
    """Weights that maximise the likelihood of `won` of `n` games in each group, less ridge/2 times
    their squares.

    Newton's method. Without a ridge the fit may be unbounded (a player who always wins), and its
    weights end at a bound.
    """
    w_K = np.zeros(x_GK.shape[1])
    for _ in range(100):
        p_G = 1 / (1 + np.exp(-np.clip(x_GK @ w_K, -500, 500)))
        gradient_K = x_GK.T @ (won_G - n_G * p_G) - ridge * w_K
        hessian_KK = (x_GK * (n_G * p_G * (1 - p_G))[:, None]).T @ x_GK
        hessian_KK[np.diag_indices_from(hessian_KK)] += max(ridge, 1e-9)
        step_K = np.clip(np.linalg.solve(hessian_KK, gradient_K), -1.0, 1.0)
        w_K = np.clip(w_K + step_K, -_BOUND, _BOUND)
        if np.abs(step_K).max() < 1e-10:
            break
    return w_K


def _group(games: Games) -> tuple[Array, Array, Array]:
    """Columns, wins and numbers of games: by pair where no features tell games apart."""
    n_players = len(games.players)
    if games.features.shape[1]:
        n_G, won_G = np.ones(len(games.won)), games.won
        first, second = games.first, games.second
    else:
        code = games.first * n_players + games.second
        pair, where = np.unique(code, return_inverse=True)
        n_G = np.bincount(where).astype(np.float64)
        won_G = np.bincount(where, games.won).astype(np.float64)
        first, second = pair // n_players, pair % n_players
    x_GP = np.zeros((len(won_G), n_players))
    x_GP[np.arange(len(won_G)), first] += _LOG_10
    x_GP[np.arange(len(won_G)), second] -= _LOG_10
    features = games.features if games.features.shape[1] else np.zeros((len(won_G), 0))
    return np.concatenate([x_GP, features], axis=1), won_G, n_G


def style_features(first_ND: Array, second_ND: Array) -> Array:
    """The standardised relative difference of counts (tokens, headers, lists, bold) of two texts.

    (a - b) / (a + b + 1), less its mean, by its deviation over all games.
    """
    difference = (first_ND - second_ND) / (first_ND + second_ND + 1)
    deviation = difference.std(axis=0)
    scaled: Array = (difference - difference.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled

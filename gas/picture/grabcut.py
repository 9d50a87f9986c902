"""GrabCut: a thing cut out of its box by two mixtures of colours and a minimum cut (C. Rother and others, 2004).

With scipy's maximum flow and no OpenCV. It works on a small picture; the guided filter brings the edge to full size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gas.picture.oklab import Array, to_lab

if TYPE_CHECKING:
    from gas.types import Image

Bools = NDArray[np.bool_]

COMPONENTS = 5
ROUNDS = 5
SMOOTHNESS = 50.0
"""The paper's gamma: what a cut between two equal neighbours costs, beside differences of log probability."""
_SCALE = 16
"""Capacities are whole numbers: sixteenths of the cost."""
_NEVER = 50_000 * _SCALE
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Mixture:
    """Gaussians in OKLab: `weights` (k,), `means` (k, 3), `inverses` (k, 3, 3), and the logs of their determinants."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    inverses: NDArray[np.float64]
    log_determinants: NDArray[np.float64]

    def costs(self, colours: Array) -> NDArray[np.float64]:
        """-log p of colours `(n, 3)`, up to one constant."""
        best = np.full(len(colours), np.inf)
        for cost in self._each(colours):
            best = np.minimum(best, cost)
        return best

    def assigned(self, colours: Array) -> NDArray[np.intp]:
        """The component that each of the colours most likely comes from."""
        return np.argmin(np.stack(self._each(colours)), axis=0)

    def _each(self, colours: Array) -> list[NDArray[np.float64]]:
        out = []
        for k in range(len(self.weights)):
            away = colours - self.means[k]
            distance = np.einsum("ij,jk,ik->i", away, self.inverses[k], away)
            out.append(-np.log(self.weights[k]) + 0.5 * (self.log_determinants[k] + distance))
        return out


def fit_mixture(colours: Array, labels: NDArray[np.intp]) -> Mixture:
    """The mixture of colours `(n, 3)` that are assigned to components by `labels`; empty components fall away."""
    weights, means, inverses, determinants = [], [], [], []
    for k in np.unique(labels):
        mine = colours[labels == k].astype(np.float64)
        covariance = np.cov(mine.T) if len(mine) > 3 else np.zeros((3, 3))
        covariance = covariance + np.eye(3) * 1e-4
        weights.append(len(mine) / len(colours))
        means.append(mine.mean(axis=0))
        inverses.append(np.linalg.inv(covariance))
        determinants.append(math.log(np.linalg.det(covariance)))
    return Mixture(np.array(weights), np.array(means), np.array(inverses), np.array(determinants))


def grouped(colours: Array, count: int = COMPONENTS) -> NDArray[np.intp]:
    """The colours `(n, 3)` in up to `count` groups, by splitting the widest group across its longest axis.

    (M. Orchard and C. Bouman, 1991. No random start: the same picture gives the same cut.)
    """
    labels = np.zeros(len(colours), np.intp)
    for new in range(1, count):
        widest, axis, spread = 0, np.zeros(3), -1.0
        for k in range(new):
            mine = colours[labels == k]
            if len(mine) < 8:
                continue
            values, vectors = np.linalg.eigh(np.cov(mine.T) * len(mine))
            if values[-1] > spread:
                widest, axis, spread = k, vectors[:, -1], float(values[-1])
        if spread <= 0:
            break
        mine = np.flatnonzero(labels == widest)
        along = colours[mine] @ axis
        labels[mine[along > along.mean()]] = new
    return labels


def cut(
    image: Image,
    probable: Bools,
    allowed: Bools,
    sure: Bools | None = None,
    *,
    rounds: int = ROUNDS,
    smoothness: float = SMOOTHNESS,
) -> Bools:
    """The thing `(h, w)` in a small picture `(h, w, 3)`: begun with `probable`, never outside `allowed`.

    What is `sure` is always part of it. The same input gives the same cut.
    """
    lab = to_lab(image)
    colours = lab.reshape(-1, 3)
    sure = np.zeros(allowed.shape, bool) if sure is None else sure
    inside = probable & allowed | sure
    links = _links(lab, smoothness)
    for _ in range(rounds):
        ours, others = colours[inside.ravel()], colours[~inside.ravel()]
        if len(ours) < 8 or len(others) < 8:
            return inside
        mixtures = []
        for some in (ours, others):
            mixture = fit_mixture(some, grouped(some))
            mixtures.append(fit_mixture(some, mixture.assigned(some)))
        ahead = (mixtures[1].costs(colours) - mixtures[0].costs(colours)).reshape(allowed.shape)
        new = _minimum_cut(ahead, links, allowed, sure)
        changed = float((new != inside).mean())
        inside = new
        if changed < 1e-3:
            break
    return inside


def _links(lab: Array, smoothness: float) -> list[tuple[NDArray[np.intp], NDArray[np.intp], Array]]:
    """For each of four directions the pixels, their neighbours, and what a cut between them costs."""
    height, width = lab.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    pairs = []
    for down, right in _NEIGHBOURS:
        here = np.s_[: height - down, max(-right, 0) : width - max(right, 0)]
        there = np.s_[down:, max(right, 0) : width + min(right, 0)]
        pairs.append((index[here].ravel(), index[there].ravel(), ((lab[here] - lab[there]) ** 2).sum(axis=-1).ravel()))
    mean = float(np.mean([part[2].mean() for part in pairs])) or 1.0
    beta = 1 / (2 * mean)
    lengths = [math.hypot(*step) for step in _NEIGHBOURS]
    return [
        (first, second, smoothness / length * np.exp(-beta * squared))
        for (first, second, squared), length in zip(pairs, lengths, strict=True)
    ]


def _minimum_cut(
    ahead: NDArray[np.float64],
    links: list[tuple[NDArray[np.intp], NDArray[np.intp], Array]],
    allowed: Bools,
    sure: Bools,
) -> Bools:
    """Which pixels lie on the thing's side; `ahead` is by how much each is likelier to be the thing's, in nats."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count = ahead.size
    source, sink = count, count + 1
    gain = np.clip(np.rint(ahead.ravel() * _SCALE), -_NEVER, _NEVER).astype(np.int32)
    gain[~allowed.ravel()] = -_NEVER
    gain[sure.ravel()] = _NEVER
    first = np.concatenate([part[0] for part in links])
    second = np.concatenate([part[1] for part in links])
    capacity = np.concatenate([np.rint(part[2] * _SCALE) for part in links]).astype(np.int32)
    pixels = np.arange(count)
    to_thing, to_rest = gain > 0, gain < 0
    rows = np.concatenate([first, second, np.full(to_thing.sum(), source), pixels[to_rest]])
    columns = np.concatenate([second, first, pixels[to_thing], np.full(to_rest.sum(), sink)])
    values = np.concatenate([capacity, capacity, gain[to_thing], -gain[to_rest]])
    graph = coo_array((values, (rows, columns)), shape=(count + 2, count + 2)).tocsr()
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    flow = maximum_flow(graph, source, sink).flow
    left = graph - flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    side = np.zeros(count + 2, bool)
    side[reached] = True
    return side[:count].reshape(ahead.shape)

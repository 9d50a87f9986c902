"""What a network predicts, and how one kind of prediction becomes another."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Parameterisation = Literal["epsilon", "v_prediction", "velocity"]
"""With `z_t = alpha z + sigma eps`:

* "epsilon": the noise eps (Ho et al. 2020);
* "v_prediction": `alpha eps - sigma z` of a variance-preserving schedule (Salimans and Ho 2022, app. D);
* "velocity": `eps - z`, the direction in which a rectified flow moves (Liu et al. 2022).
"""


def to_epsilon(output: Tensor, kind: Parameterisation, z_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise eps that a network's `output` of this kind says is in `z_t`; all `(n, C, h, w)`, alpha and sigma
    `(n, 1, 1, 1)`. ValueError for an unknown kind."""
    if kind == "epsilon":
        return output
    if kind == "v_prediction":
        return alpha * output + sigma * z_t
    if kind == "velocity":
        return (z_t + alpha * output) / (alpha + sigma)
    raise ValueError(f"a network that predicts {kind!r} is not supported: epsilon, v_prediction and velocity are")


def to_velocity(output: Tensor, kind: Parameterisation, z_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The velocity `eps - z` that a network's `output` of this kind says; as `to_epsilon`.

    Of predicted noise it cannot be told where all is noise: alpha must not be 0 there.
    """
    if kind == "epsilon":
        return ((alpha + sigma) * output - z_t) / alpha
    if kind == "v_prediction":
        return (alpha + sigma) * output + (sigma - alpha) * z_t
    if kind == "velocity":
        return output
    raise ValueError(f"a network that predicts {kind!r} is not supported: epsilon, v_prediction and velocity are")

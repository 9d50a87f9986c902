"""Text2LIVE's training of layers on one picture: what is painted, shown to CLIP and asked of it in each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.clip import Clip, square_around
from gas_editors.text2live.generator import Generators, levels_for, madgrad, madgrad_start
from gas_editors.text2live.losses import (
    PLAIN,
    SCREEN_TEMPLATES,
    TEMPLATES,
    Wanted,
    bootstrap_weight,
    composition_loss,
    distance,
    on_screen,
    over,
    some,
    sparsity,
    structure_loss,
)
from gas_editors.text2live.views import clip_views, training_crop

if TYPE_CHECKING:
    from gas.types import Image

PARTS = ("composition", "region", "screen", "structure", "sparsity", "bootstrap")
"""The losses, in the order in which they are logged, each with its weight in it."""

LEAST_RATE = 1e-5
FINER = 1.25
"""How much finer than CLIP's own pictures those are that its views are cut from: enough for cuts of 60 to 100 %."""


@dataclass(frozen=True)
class Painted:
    """A layer that is to be painted.

    * screen: what it shows alone (None: that is not asked of it);
    * mask: `(1, 1, H, W)`, where it may be and how opaque at most;
    * place: `(1, 1, H, W)`, where its opacity begins (None: anywhere);
    * prompts: (source, target) of its own subtask, for the square around its mask (None: the whole picture's alone);
    * strength: weight of its own losses.
    """

    name: str
    screen: str | None
    mask: Tensor
    place: Tensor | None
    prompts: tuple[str, str] | None = None
    strength: float = 1.0


class Training:
    """The layers of one picture `(1, 3, H, W)` under the `whole` sentences (before, after), lowest layer first.

    All that is drawn is drawn from the seed and the step's number, so that a run that is resumed gives the same
    bytes.
    """

    def __init__(
        self, clip: Clip, picture: Tensor, layers: Sequence[Painted], whole: tuple[str, str], seed: int, options: Any
    ) -> None:
        self.clip, self.picture, self.layers, self.options, self.seed = clip, picture, tuple(layers), options, seed
        height, width = picture.shape[2:]
        levels = levels_for(height, width, options.levels)
        self.generators = Generators(len(layers), options.width, levels, seed, clip.device)
        wordings: Sequence[str] = TEMPLATES if options.templates else PLAIN
        self.whole = Wanted.of(clip, *whole, wordings)
        self.own = [None if one.prompts is None else Wanted.of(clip, *one.prompts, wordings) for one in layers]
        wordings = SCREEN_TEMPLATES if options.templates else PLAIN
        self.screens = [
            None if one.screen is None else clip.texts([wording.format(one.screen) for wording in wordings])
            for one in layers
        ]
        self.start = madgrad_start(self.generators.start)
        self.estimate = self._pack(self.generators.start, picture.new_zeros(len(PARTS)), 0)
        self._rows = 0

    # --- a state ------------------------------------------------------------------------------------------------------

    def step(self, i: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state after step i."""
        options = self.options
        rng = np.random.default_rng((self.seed, i))
        self._rows = self.unpack(state["estimate"])[2]
        with torch.enable_grad():
            weights = state["weights"].detach().requires_grad_(True)
            seen, size = training_crop(rng, *self.picture.shape[2:])
            crop = seen.recolour(seen.look(self.picture, size))
            masks = [seen.look(one.mask, size, outside=0) for one in self.layers]
            places = [None if one.place is None else seen.look(one.place, size, outside=0) for one in self.layers]
            losses = self._losses(weights, crop, masks, places, i, rng)
            if i % options.whole_every == 0:
                masks, places = [one.mask for one in self.layers], [one.place for one in self.layers]
                losses = (losses + self._losses(weights, self.picture, masks, places, i, rng)) / 2
            (gradient,) = torch.autograd.grad(losses.sum(), weights)
        rate = max(LEAST_RATE, options.learning_rate * options.decay**i)
        state = madgrad(state, gradient, rate, i)
        return {**state, "estimate": self._pack(state["weights"], losses.detach(), self._rows)}

    def _pack(self, weights: Tensor, losses: Tensor, rows: int) -> Tensor:
        return torch.cat([weights.flatten(), losses, losses.new_tensor([rows])])

    def unpack(self, estimate: Tensor) -> tuple[Tensor, list[float], int]:
        """The weights `(layers, parameters)`, the last losses in the order of PARTS, and how many pictures CLIP saw."""
        end = estimate[self.generators.start.numel() :].tolist()
        return estimate[: -len(end)].view_as(self.generators.start), end[:-1], int(end[-1])

    # --- pictures -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def paint(self, weights: Tensor) -> list[Tensor]:
        """Each layer `(1, 4, H, W)` of the whole picture."""
        return self._layers(weights, self.picture, [one.mask for one in self.layers])

    @torch.no_grad()
    def decode(self, estimate: Tensor) -> Image:
        """The picture `(H, W, 3)` uint8 with its layers; where all of them are clear, bit for bit the source."""
        made = _composite(self.picture, self.paint(self.unpack(estimate)[0]))
        return (made[0] * 255).clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _layers(self, weights: Tensor, picture: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
        made = [self.generators.layer(one, picture) for one in weights]
        return [torch.cat([one[:, :3], one[:, 3:] * mask], 1) for one, mask in zip(made, masks, strict=True)]

    # --- losses -------------------------------------------------------------------------------------------------------

    def _losses(
        self,
        weights: Tensor,
        picture: Tensor,
        masks: Sequence[Tensor],
        places: Sequence[Tensor | None],
        i: int,
        rng: np.random.Generator,
    ) -> Tensor:
        """`(len(PARTS),)`: the weighted losses of the layers that are made of `picture`."""
        options, zero = self.options, picture.new_zeros(())
        made = self._layers(weights, picture, masks)
        after = _composite(picture, made)
        parts = dict.fromkeys(PARTS, zero)
        if options.lambda_composition:
            parts["composition"] = options.lambda_composition * self._composition(picture, after, self.whole, rng)
        if options.lambda_structure:
            before = self.clip.self_similarity(self.clip.whole(picture))
            now = self.clip.self_similarity(self.clip.whole(after))
            parts["structure"] = options.lambda_structure * structure_loss(before, now)
            self._rows += 2
        share = bootstrap_weight(i, round(options.bootstrap * options.steps))
        for number, (layer, mask, place) in enumerate(zip(made, masks, places, strict=True)):
            own, screen, strength = self.own[number], self.screens[number], self.layers[number].strength
            opacity = layer[:, 3:][mask > 0]
            if not len(opacity):
                continue  # the crop has left its region out
            parts["sparsity"] = parts["sparsity"] + sparsity(opacity, options.lambda_alpha_l1, options.lambda_alpha_l0)
            if place is not None and share and options.lambda_bootstrap:
                far = F.mse_loss(opacity, place[mask > 0])
                parts["bootstrap"] = parts["bootstrap"] + options.lambda_bootstrap * share * far
            alone, old, new = on_screen(layer), picture, after
            if own is not None:
                x0, y0, x1, y1 = square_around(mask[0, 0].detach().cpu().numpy())
                alone, old, new = (one[:, :, y0:y1, x0:x1] for one in (alone, old, new))
            if own is not None and options.lambda_region:
                weight = options.lambda_region * strength
                parts["region"] = parts["region"] + weight * self._composition(old, new, own, rng)
            if screen is not None and options.lambda_screen:
                views = self._views([alone], rng)[0]
                far = distance(views, screen[some(rng, len(screen))], options.criterion).mean()
                parts["screen"] = parts["screen"] + options.lambda_screen * strength * far
        return torch.stack([parts[name] for name in PARTS])

    def _composition(self, before: Tensor, after: Tensor, wanted: Wanted, rng: np.random.Generator) -> Tensor:
        old, new = self._views([before, after], rng)
        return composition_loss(old, new, wanted, rng, self.options.criterion)

    def _views(self, pictures: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
        """Embeddings `(views, dim)` of each of several pictures of one size, all seen in the same views.

        The published code draws views of the source and of the composite apart; then their difference, which is
        compared with a direction, is for the most part one of views.
        """
        height, width = pictures[0].shape[2:]
        size = self.clip.whole_size(height, width)
        views = clip_views(rng, self.options.views, width / height, recoloured=self.options.recoloured)
        finer = FINER * self.clip.side / min(height, width)
        found = []
        for one in pictures:
            near = self.clip.resize(one, (round(height * finer), round(width * finer))) if finer < 1 else one
            found.append(self.clip.images(views.recolour(views.look(near, size))))
        self._rows += self.options.views * len(pictures)
        return found


def _composite(picture: Tensor, layers: Sequence[Tensor]) -> Tensor:
    for layer in layers:
        picture = over(layer, picture)
    return picture

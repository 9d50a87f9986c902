"""How an instruction model is asked, and whether it did what it was told: the judge of the bench, which for additions
looks for the added thing wherever the model put it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from scipy import ndimage
from transformers import CLIPTextModel, CLIPTokenizer

from gas.diffusion.adapters import adapt_all, find_base
from gas_diorama.bench.judge import Judge
from gas_diorama.world.drawing import grow, regions, render
from gas_diorama.world.networks import cpu_generator, scheduler, to_pictures, to_tensor, token_ids
from gas_diorama.world.pairs import Pair
from gas_diorama.world.scene import SIZE, Edit, Scene, Thing, apply

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Parts:
    """The networks of a model in the diorama's form; `unet` may be an instruction model's or not yet."""

    vae: AutoencoderKL
    encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    unet: UNet2DConditionModel

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """The text encoder's states: float32 (n, 77, d)."""
        return self.states(token_ids(self.tokenizer, list(texts)).to(self.encoder.device))

    @torch.no_grad()
    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """The same of token ids (n, 77) on the encoder's device."""
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            return self.encoder(ids).last_hidden_state.float()

    @torch.no_grad()
    def encode(self, pictures: Pictures) -> torch.Tensor:
        """Latents of uint8 pictures (n, 128, 128, 3): float32 (n, c, 16, 16)."""
        with torch.autocast(self.vae.device.type, dtype=torch.bfloat16):
            return self.vae.encode(to_tensor(pictures).to(self.vae.device)).latent_dist.mean.float()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Pictures:
        """Pictures of latents: uint8 (n, 128, 128, 3)."""
        with torch.autocast(self.vae.device.type, dtype=torch.bfloat16):
            return to_pictures(self.vae.decode(latents).sample)


def load_parts(folder: Path, device: str = "cpu") -> Parts:
    """The frozen networks in `folder`: of diffusers' layout, or an adapter on one."""
    base, adapters = find_base(folder)
    kinds: dict[str, Any] = {"vae": AutoencoderKL, "unet": UNet2DConditionModel}
    parts = {name: kind.from_pretrained(base / name, torch_dtype=torch.float32) for name, kind in kinds.items()}
    parts["encoder"] = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    parts["unet"] = adapt_all(parts["unet"], adapters)
    parts = {name: network.to(device).eval().requires_grad_(False) for name, network in parts.items()}
    return Parts(tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer"), **parts)


@dataclass(frozen=True)
class Guidance:
    """How strongly the answer follows the text and keeps to the source (InstructPix2Pix, equation 3), and in how many
    steps of DPM-Solver++ it is drawn."""

    text: float = 1.5
    image: float = 1.0
    steps: int = 20


@torch.no_grad()
def edited_latents(
    unet: UNet2DConditionModel,
    source: torch.Tensor,
    text: torch.Tensor,
    empty: torch.Tensor,
    guidance: Guidance,
    seed: int,
    relevance: torch.Tensor | None = None,
) -> torch.Tensor:
    """Latents (n, c, 16, 16) of the answers to text states (n, 77, d) about source latents (n, c, 16, 16); `empty` is
    (1, 77, d). To `relevance` (n, 16, 16) each step adds how much the instruction changes the predicted noise."""
    plan = DPMSolverMultistepScheduler.from_config(scheduler().config)
    plan.set_timesteps(guidance.steps)
    z = torch.randn(source.shape, generator=cpu_generator(seed, 0)).to(source)
    rows = torch.cat([text, empty.expand_as(text), empty.expand_as(text)])
    beside = torch.cat([source, source, torch.zeros_like(source)])
    for t in plan.timesteps:
        with torch.autocast(source.device.type, dtype=torch.bfloat16):
            v = unet(torch.cat([z.repeat(3, 1, 1, 1), beside], 1), t, rows).sample.float()
        full, image, nothing = v.chunk(3)
        if relevance is not None:
            # Two predictions of one z_t: eps = alpha v + sigma z_t differs by alpha times as much as v.
            relevance += plan.alphas_cumprod[t].sqrt() * (full - image).abs().mean(1).to(relevance)
        z = plan.step(nothing + guidance.image * (image - nothing) + guidance.text * (full - image), t, z).prev_sample
    return z


def answers(
    parts: Parts, pairs: Sequence[tuple[Pair, str]], guidance: Guidance, seed: int = 0, batch: int = 25
) -> Pictures:
    """What the model makes of each pair's first picture, told its instruction: uint8 (n, 128, 128, 3)."""
    empty, done = parts.embed([""]), []
    for start in range(0, len(pairs), batch):
        some = pairs[start : start + batch]
        source = parts.encode(np.stack([render(pair.before) for pair, _ in some]))
        text = parts.embed([words for _, words in some])
        done.append(parts.decode(edited_latents(parts.unet, source, text, empty, guidance, seed + start)))
    return np.concatenate(done)


def locate(before: Scene, thing: Thing, picture: Pictures) -> Thing:
    """`thing` at the place and size at which its rendering comes nearest to `picture`: first on the largest patch that
    differs from the scene without it, then in ever smaller steps. Where nothing differs, the thing as it is."""
    different = np.abs(picture.astype(np.int16) - render(before)).max(-1) > 40
    patches, _ = ndimage.label(ndimage.binary_opening(different, iterations=2))
    starts = [thing]
    if patches.any():
        largest = patches == np.bincount(patches.ravel())[1:].argmax() + 1
        rows, columns = ndimage.find_objects(largest.astype(int))[0]
        size = max(rows.stop - rows.start, columns.stop - columns.start)
        starts.append(replace(thing, x=(columns.start + columns.stop) // 2, y=rows.stop, size=size))

    @cache
    def error(one: Thing) -> float:
        return float(np.square(render(apply(before, [Edit("add", "thing", None, one)])) - picture.astype(float)).sum())

    best = min((_inside(start) for start in starts), key=error)
    for step in (4, 2, 1):
        for _ in range(4):
            moved = [
                _inside(replace(best, x=best.x + a * step, y=best.y + b * step, size=best.size + c * step))
                for a, b, c in product((-1, 0, 1), repeat=3)
                if abs(a) + abs(b) + abs(c) <= 1
            ]
            nearest = min(moved, key=error)
            if nearest == best:
                break
            best = nearest
    return best


def where_added(scene: Scene, edits: Sequence[Edit], picture: Pictures) -> tuple[Edit, ...]:
    """`edits`, done together, with every added thing where `picture` has it (see `locate`): what a model that chooses
    the place itself is judged by."""
    placed = list(edits)
    for number, edit in enumerate(edits):
        if edit.action == "add" and isinstance(edit.target, Thing):
            others = apply(scene, [other for other in placed if other is not placed[number]])
            placed[number] = replace(edit, target=locate(others, edit.target, picture))
    return tuple(placed)


def _inside(thing: Thing) -> Thing:
    size = int(np.clip(thing.size, 16, SIZE // 2))
    half = size // 2
    x = int(np.clip(thing.x, half + 1, SIZE - size + half - 1))
    return replace(thing, x=x, y=int(np.clip(thing.y, size + 1, SIZE - 1)), size=size)


@dataclass(frozen=True)
class Followed:
    """Whether an instruction was followed, and the mean error in levels of 255 outside the region of its edit, None
    where that is the whole picture."""

    done: bool
    outside: float | None


def followed(pair: Pair, picture: Pictures) -> Followed:
    """The verdict on a model's answer to the pair's instruction: uint8 (128, 128, 3)."""
    (edit,) = where_added(pair.before, [pair.edit], picture)
    outside = ~grow(regions(pair.before, [edit])[0] > 0, 2)
    error = np.abs(picture.astype(float) - render(pair.before))[outside].mean() if outside.any() else None
    return Followed(Judge(pair.before, [edit]).verdicts(picture)[0].done, None if error is None else float(error))


def shares(pairs: Sequence[tuple[Pair, str]], found: Sequence[Followed]) -> dict[str, float]:
    """Shares in [0, 1] of instructions that were followed: of all, of each action, of each form; and `outside`, the
    mean error there in levels."""
    groups: dict[str, list[bool]] = {"all": []}
    for (pair, _), one in zip(pairs, found, strict=True):
        for group in dict.fromkeys(("all", pair.edit.action, pair.form)):
            groups.setdefault(group, []).append(one.done)
    errors = [one.outside for one in found if one.outside is not None]
    return {group: float(np.mean(done)) for group, done in groups.items()} | {"outside": float(np.mean(errors))}


def sheet(pairs: Sequence[tuple[Pair, str]], pictures: Pictures, in_a_row: int = 4) -> Pictures:
    """For each pair its source, the exact result and the model's picture, `in_a_row` pairs in a row: uint8 (h, w,
    3)."""
    triples = [
        np.hstack([render(pair.before), render(pair.after), picture])
        for (pair, _), picture in zip(pairs, pictures, strict=True)
    ]
    triples += [np.zeros_like(triples[0])] * (-len(triples) % in_a_row)
    return np.vstack([np.hstack(triples[row : row + in_a_row]) for row in range(0, len(triples), in_a_row)])

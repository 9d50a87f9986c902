"""Trains an instruction model (InstructPix2Pix, Brooks et al. 2023) on exact edit pairs, as an adapter of the UNet of
the model that it starts from: a `conv_in` that also takes the source's latents, LoRA on every layer, and the small
weights (norms, biases) whole. `gas.diffusion.adapters` says how adapters are written and merged.

`instruct` starts from the text-to-image model in `weights/sd`; `instruct-remove` starts from `weights/instruct` and is
trained mostly on removals. Both learn to predict v, as the text-to-image model does; the text encoder stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call

from gas.diffusion.adapters import adapt, factors_of, merge, write_adapter
from gas_diorama.bench.follow import Guidance, Parts, answers, followed, load_parts, shares, sheet
from gas_diorama.train.drawn import drawers
from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.graphs import Loss
from gas_diorama.train.pair_cache import PairCache
from gas_diorama.train.train_unet import velocity_weights
from gas_diorama.train.training import fit, load_checkpoint, log, noise_like
from gas_diorama.world.networks import cpu_generator, scheduler
from gas_diorama.world.pairs import held_out

INSTRUCT, REMOVE = WEIGHTS.parent / "instruct", WEIGHTS.parent / "instruct-remove"


@dataclass(frozen=True)
class InstructSettings:
    """Size and schedule of an instruction model's training.

    * rank: of the LoRA; 0 trains every weight whole (no adapter then, but a second UNet).
    * whole: layers whose weights are trained whole all the same, by how their names begin.
    * shown: how much of the noisy latent's weights in `conv_in` the source's begin with.
    * forms: shares of the pairs by form; half of those that change something are told backwards.
    * measured: held-out instructions that are tried every `measure_every` steps; 0 tries none.
    * bands: shares of the times by (first, last, share) of [0, 1]; what is left are starts of sampling: pure noise at
      the last time. A schedule that keeps 7 % of the picture at its last time (Lin et al. 2023) would else hardly teach
      to take sky and ground from the source; and where things are is settled at the noisy end.
    * quick: factor on the learning rate of the LoRA's second factors, which begin at zero (LoRA+, Hayou et al. 2024).
    * drop: chance to leave out the text alone, the picture alone, and both (InstructPix2Pix: 5 % each).
    """

    rank: int = 16
    whole: tuple[str, ...] = ("conv_out", "down_blocks.0", "up_blocks.2")
    shown: float = 0.2
    steps: int = 9000
    batch: int = 16
    peak: float = 5e-4
    warm_up: int = 100
    decay: float = 0.0
    average: float = 0.999
    snr_limit: float = 5.0
    bands: tuple[tuple[float, float, float], ...] = ((0.0, 1.0, 0.65), (0.8, 1.0, 0.2))
    quick: float = 4.0
    drop: float = 0.05
    forms: Mapping[str, float] = field(
        default_factory=lambda: {
            "kind": 0.27,
            "colour": 0.18,
            "both": 0.22,
            "ground": 0.04,
            "sky": 0.04,
            "add": 0.19,
            "remove": 0.06,
        }
    )
    pairs: int = 30000
    first_pairs: int = 3000
    pairs_a_batch: int = 3
    seed: int = 0
    save_every: int = 250
    measure_every: int = 1000
    measured: int = 56


def remove_settings(**changes: object) -> InstructSettings:
    """Settings of the second adapter: 85 % removals, a small rank, a short schedule."""
    forms = dict.fromkeys(("kind", "colour", "both", "ground", "sky"), 0.02) | {"add": 0.05, "remove": 0.85}
    return InstructSettings(
        **{"rank": 4, "whole": (), "steps": 1000, "peak": 5e-4, "forms": forms, "seed": 1} | changes  # type: ignore[arg-type]
    )


class Adapter(nn.Module):
    """What is trained: LoRA factors of `rank` for the matrices and convolutions of `weights`, whole weights where that
    is no larger, for vectors, for `conv_in`, and for layers in `whole`. Merging it before training gives `start`, as
    nearly as factors of `rank` can, or `weights` without it.

    Args:
        weights: the base's, by name; `conv_in` as wide as wanted.
        rank: of the factors; 0 takes every weight whole.
        whole: how the names begin of weights that are taken whole in any case.
        seed: of the factors A (B starts at zero).
        start: weights by name, as `weights`, to begin with.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        rank: int,
        whole: tuple[str, ...] = (),
        seed: int = 0,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.values = nn.ParameterDict()
        for name, weight in weights.items():
            rows, columns = weight.shape[0], weight[0].numel()
            factors = rank and weight.ndim > 1 and rank * (rows + columns) < weight.numel()
            if not factors or name.startswith(("conv_in", *whole)):
                self._keep(name, (weight if start is None else start[name]).clone())
                continue
            bound = columns**-0.5
            if start is None:
                a, b = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator), torch.zeros(rows, rank)
            else:
                a, b = factored((start[name] - weight).flatten(1), rank, bound)
            down, up = factors_of(name)
            self._keep(down, a.view(rank, *weight.shape[1:]))
            self._keep(up, b.view(rows, rank, *[1] * (weight.ndim - 2)))

    def _keep(self, name: str, value: Tensor) -> None:
        self.values[name.replace(".", "/")] = nn.Parameter(value)

    def tensors(self) -> dict[str, Tensor]:
        """Its weights by the names that `gas.diffusion.adapters` knows."""
        return {name.replace("/", "."): value for name, value in self.values.items()}


def factored(matrix: Tensor, rank: int, bound: float) -> tuple[Tensor, Tensor]:
    """A (rank, columns) and B (rows, rank) whose product B A is the nearest to `matrix`; the rows of A are as long as
    if drawn from [-bound, bound]."""
    u, singular, v = torch.linalg.svd(matrix.float(), full_matrices=False)
    length = bound * (matrix.shape[1] / 3) ** 0.5
    return v[:rank] * length, u[:, :rank] * singular[:rank] / length


def adapter_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same from an Adapter's state_dict."""
    return {name.removeprefix("values.").replace("/", "."): value for name, value in state.items()}


def widened_weights(parts: Parts, shown: float = 1.0) -> dict[str, Tensor]:
    """The weights of the UNet of `parts`; `conv_in` takes the source's latents as it takes the noisy ones, with
    `shown` times the weights, unless it takes them already.

    InstructPix2Pix begins with zeros there, and so learns late that the picture is to be kept. Begun like this, the
    error in cells that stay was after 100 steps of 32 pairs nearly what it was after 1000 from zeros (0.20 and 0.17
    at t = 950).
    """
    weights = {name: value.detach() for name, value in parts.unet.state_dict().items()}
    missing = 2 * parts.vae.config.latent_channels - parts.unet.config.in_channels
    first = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([first, shown * first[:, :missing]], 1)
    return weights


def banded_times(places: Tensor, bands: Sequence[tuple[float, float, float]]) -> Tensor:
    """Times in [0, 1] of `places` spread evenly over [0, 1): a share of them from each of `bands` (first, last, share),
    in their order, and 1 for what is left."""
    times, begin = torch.ones_like(places), 0.0
    for first, last, share in bands:
        inside = (places >= begin) & (places < begin + share)
        times = torch.where(inside, first + (last - first) * (places - begin) / share, times)
        begin += share
    return times


def train_instruct(
    out: Path,
    name: str,
    settings: InstructSettings,
    base: Path = WEIGHTS,
    device: str = "cpu",
    start: Path | None = None,
    until: float | None = None,
    processes: int = 1,
    at_save: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """The averaged adapter to the model in `base`, by names; goes on from `out`/`name`.pt when that is there, or begins
    with the instruction model in `start`. `until` is as `fit` takes it, `processes` draw pairs, and `at_save` is
    called after each checkpoint.

    Every `measure_every` steps the model is asked held-out validation instructions: shares followed go into the log,
    and source, exact result and answer side by side into `out`/`name`-previews.
    """
    parts = load_parts(base, device)
    weights = widened_weights(parts, settings.shown)
    begun = None if start is None else load_parts(start).unet.state_dict()
    on_cpu = {weight: value.cpu() for weight, value in weights.items()}
    adapter = Adapter(on_cpu, settings.rank, settings.whole, settings.seed, begun).to(device)
    unet = adapt(parts.unet, {"conv_in.weight": weights["conv_in.weight"]}).train()
    if torch.device(device).type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # plain attention trains faster than the fused one there
    alphas, empty = scheduler().alphas_cumprod.to(device), parts.embed([""])
    cache = PairCache(parts, settings.pairs, settings.seed, settings.forms)
    with drawers(processes) as pool:
        cache.grow(settings.first_pairs, pool)

    def batch_at(step: int) -> tuple[Tensor, ...]:
        generator, n = cpu_generator(settings.seed + 7, step), settings.batch
        cache.grow(settings.first_pairs + settings.pairs_a_batch * step)
        batch, draw = cache.batch(n, generator), torch.rand(n, generator=generator).to(device)[:, None, None]
        times = banded_times((torch.rand(n, generator=generator) + torch.arange(n)) / n, settings.bands).to(device)
        eps = noise_like(batch.target, generator)
        return batch.source, batch.target, eps, times, draw, batch.ids, batch.weights

    def loss_of(
        source: Tensor, z: Tensor, eps: Tensor, times: Tensor, draw: Tensor, ids: Tensor, weight: Tensor
    ) -> Tensor:
        states = torch.where(draw < 2 * settings.drop, empty, parts.states(ids))
        source = source * ((draw < settings.drop) | (draw >= 3 * settings.drop))[..., None]
        t = (times * len(alphas)).long().clamp(max=len(alphas) - 1)
        alpha, sigma = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
        # At the start of sampling there is noise alone; v is what then leads to z: z = alpha z_t - sigma v.
        z_t = torch.where((times == 1)[:, None, None, None], eps, alpha * z + sigma * eps)
        v = (alpha * z_t - z) / sigma
        cells = weight * velocity_weights(alphas[t], settings.snr_limit)[:, None, None, None]
        merged = merge(weights, adapter.tensors())
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            guess = functional_call(unet, merged, (torch.cat([z_t, source], 1), t, states)).sample
        return (cells * (guess.float() - v).square()).mean()

    def measure(step: int, average: Mapping[str, Tensor], last: bool) -> None:
        at_save()
        if not settings.measured or (step % settings.measure_every and not last):
            return
        asked = held_out(settings.measured, "validation")
        model = Parts(parts.vae, parts.encoder, parts.tokenizer, adapt(unet, adapter_tensors(average)))
        pictures = answers(model, asked, Guidance())
        found = shares(asked, [followed(pair, one) for (pair, _), one in zip(asked, pictures, strict=True)])
        log.info("%s step %d followed: %s", name, step, "  ".join(f"{key} {value:.2f}" for key, value in found.items()))
        (out / f"{name}-previews").mkdir(exist_ok=True)
        Image.fromarray(sheet(asked, pictures)).save(out / f"{name}-previews" / f"step-{step:06d}.png")

    def rate(weight: str) -> float:
        return settings.quick if weight.endswith("lora_B/weight") else 1.0

    loss = Loss(batch_at, loss_of)
    return adapter_tensors(fit(out / f"{name}.pt", adapter, settings, loss, measure, rate, until=until))


def changes(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`adapter` with what it adds to the matrices and convolutions among `weights` in the place of those that it has
    whole."""
    out = {}
    for name, value in adapter.items():
        weight = weights.get(name)
        if weight is None or weight.ndim < 2:
            out[name] = value
            continue
        added = value.clone()
        added[:, : weight.shape[1]] -= weight
        out[f"{name}.diff"] = added
    return out


def export_instruct(out: Path, name: str, folder: Path, base: Path = WEIGHTS) -> Path:
    """`folder`, which then holds the averaged adapter of `out`/`name`.pt to the model in `base`: of weights trained
    whole the change alone, so that all of it can be kept in 8 bits.

    Raises:
        FileNotFoundError: nothing was trained there.
    """
    state = load_checkpoint(out / f"{name}.pt")
    if state is None:
        raise FileNotFoundError(f"{out / name}.pt is missing: run python -m gas_diorama.train {name} --out {out}")
    weights = load_parts(base).unet.state_dict()
    adapter = changes(weights, adapter_tensors(state["average"]))
    size = write_adapter(folder, adapter, os.path.relpath(base, folder), packed=True)
    log.info("exported step %s of %s to %s: %.2f MB", state["step"], name, folder, size / 1e6)
    return folder

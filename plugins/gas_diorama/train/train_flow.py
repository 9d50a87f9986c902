"""Trains the diorama's flow model on the autoencoder and the text encoder of the model beside it, both of which stay as
they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.flow import (
    FLOW,
    PATCH,
    TIMES,
    FlowSize,
    build_flow,
    export_flow,
    flow_ids,
    sample_flow,
    text_states,
)
from gas_diorama.train.graphs import Loss
from gas_diorama.train.optimisers import adamw, muon
from gas_diorama.train.scene_cache import SceneCache
from gas_diorama.train.training import fit, load_checkpoint, log, noise_like
from gas_diorama.world.asking import LABELS
from gas_diorama.world.language import caption
from gas_diorama.world.networks import cpu_generator, to_pictures
from gas_diorama.world.scene import GRID, sample_scene


@dataclass(frozen=True)
class FlowSettings:
    """Size and schedule of the flow model.

    * shown_layer, shown_weight: after this block each patch says which kind, colour, ground and sky its four cells
      show, with this weight in the loss. The words and the noisy picture decide it, so the network learns early what
      goes where (as REPA, Yu et al. 2025, with the exact answer in place of another network's features).
    * muon: whether Muon steps the matrices of the blocks, or AdamW as it does all others.
    """

    width: int = FlowSize.width
    heads: int = FlowSize.heads
    layers: int = FlowSize.layers
    shown_layer: int = 2
    shown_weight: float = 0.1
    muon: bool = True
    steps: int = 6000
    batch: int = 64
    peak: float = 2e-3
    warm_up: int = 200
    decay: float = 0.01
    average: float = 0.999
    empty: float = 0.12
    short: float = 0.33
    scenes: int = 36000
    first_scenes: int = 4000
    scenes_a_step: int = 4
    seed: int = 0
    save_every: int = 250
    preview_every: int = 500
    previews: int = 24

    @property
    def size(self) -> FlowSize:
        """Of the transformer."""
        return FlowSize(self.width, self.heads, self.layers)


class FlowLearner(nn.Module):
    """What is trained: the transformer, and a layer that tells from its hidden states what each cell shows, thrown away
    after training."""

    def __init__(self, transformer: SD3Transformer2DModel, layer: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.shown = nn.Linear(transformer.inner_dim, PATCH**2 * len(LABELS))
        self._hidden: Tensor | None = None
        transformer.transformer_blocks[layer].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: object, output: tuple[Tensor, Tensor]) -> None:
        self._hidden = output[1]

    def forward(self, z: Tensor, t: Tensor, states: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, c, 16, 16) at times (n,) in [0, 1] with `text_states`: v, and logits of LABELS for each patch's
        cells (n, 64, 4 x labels)."""
        v = self.transformer(z, states, pooled, t * TIMES, return_dict=False)[0]
        assert self._hidden is not None
        return v, self.shown(self._hidden)


def patches(shown: Tensor) -> Tensor:
    """What each cell shows, (n, 256, labels), the four cells of a patch together: (n, 64, 4 x labels)."""
    side = GRID // PATCH
    cells = shown.view(len(shown), side, PATCH, side, PATCH, -1)
    return cells.transpose(2, 3).reshape(len(shown), side * side, -1)


def logit_normal(places: Tensor) -> Tensor:
    """Times in (0, 1), logit-normal with mean 0 and deviation 1 (Esser et al. 2024, section 3.1), of `places` spread
    evenly over (0, 1)."""
    return torch.special.ndtri(places.double().clamp(1e-4, 1 - 1e-4)).sigmoid().float()


def transformer_of(weights: Mapping[str, Tensor], settings: FlowSettings) -> SD3Transformer2DModel:
    """The transformer with the weights of a `FlowLearner` by name, on the CPU."""
    own = {name.removeprefix("transformer."): w for name, w in weights.items() if name.startswith("transformer.")}
    text_width = own["context_embedder.weight"].shape[1]
    network = build_flow(settings.size, own["pos_embed.proj.weight"].shape[1], text_width)
    network.load_state_dict(own)
    return network.eval()


def train_flow(
    out: Path,
    settings: FlowSettings,
    base: Path = WEIGHTS,
    device: str = "cpu",
    until: float | None = None,
    cache: SceneCache | None = None,
    at_save: Callable[[], None] = lambda: None,
    start: SD3Transformer2DModel | None = None,
) -> SD3Transformer2DModel:
    """The transformer with averaged weights; goes on from `out`/flow.pt when that is there.

    Args:
        out: folder of the checkpoint and of previews.
        settings: size and schedule.
        base: folder with the autoencoder and the text encoder.
        device: that trains.
        until: when to end, as `fit` takes it.
        cache: of training scenes, made with that autoencoder (default: a new one, which grows along the way).
        at_save: called after each checkpoint.
        start: a transformer to begin with.
    """
    vae = AutoencoderKL.from_pretrained(base / "vae", torch_dtype=torch.float32).to(device).eval()
    encoder = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32).to(device).eval()
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    torch.manual_seed(settings.seed)
    transformer = build_flow(settings.size, vae.config.latent_channels, encoder.config.hidden_size)
    if start is not None:
        transformer.load_state_dict(start.state_dict())
    learner = FlowLearner(transformer, settings.shown_layer).to(device).train()
    scenes = cache or SceneCache(vae, tokenizer, settings.scenes, settings.seed)

    def batch_at(step: int) -> tuple[Tensor, ...]:
        generator, n = cpu_generator(settings.seed + 20, step), settings.batch
        scenes.grow(settings.first_scenes + settings.scenes_a_step * step)
        batch = scenes.batch(n, generator, settings.empty, settings.short)
        t = logit_normal((torch.rand(n, generator=generator) + torch.arange(n)) / n).to(device)
        return batch.latents, noise_like(batch.latents, generator), t, batch.ids, batch.weights, batch.shown

    def loss_of(z: Tensor, eps: Tensor, t: Tensor, ids: Tensor, weights: Tensor, shown: Tensor) -> Tensor:
        states, pooled = text_states(encoder, ids)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            v, told = learner(torch.lerp(z, eps, t[:, None, None, None]), t, states, pooled)
        error = (weights * (v.float() - (eps - z)).square()).mean()
        wrong = nn.functional.binary_cross_entropy_with_logits(told.float(), patches(shown).float())
        return error + settings.shown_weight * len(LABELS) * wrong

    def saved(step: int, average: Mapping[str, Tensor], last: bool) -> None:
        if step % settings.preview_every == 0 or last:
            held = [sample_scene(np.random.default_rng((5, n)), part="validation") for n in range(settings.previews)]
            text, empty = (
                text_states(encoder, flow_ids(tokenizer, some)) for some in ([caption(one) for one in held], [""])
            )
            mean = transformer_of(average, settings).to(device)
            with torch.no_grad(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
                pictures = to_pictures(vae.decode(sample_flow(mean, text, empty, seed=0)).sample)
            (out / "flow-previews").mkdir(exist_ok=True)
            rows = [np.hstack(list(pictures[row : row + 8])) for row in range(0, len(pictures), 8)]
            Image.fromarray(np.vstack(rows)).save(out / "flow-previews" / f"step-{step:06d}.png")
        at_save()

    build = muon(lambda name: "transformer_blocks" in name and "norm1" not in name) if settings.muon else adamw
    loss = Loss(batch_at, loss_of)
    return transformer_of(fit(out / "flow.pt", learner, settings, loss, saved, build=build, until=until), settings)


def export_trained_flow(out: Path, folder: Path = FLOW, base: Path = WEIGHTS) -> Path:
    """`folder`, which then holds the averaged weights of `out`/flow.pt (`export_flow`).

    Raises:
        FileNotFoundError: nothing was trained there.
    """
    state = load_checkpoint(out / "flow.pt")
    if state is None:
        raise FileNotFoundError(f"{out / 'flow.pt'} is missing: run python -m gas_diorama.train flow --out {out}")
    network = transformer_of(state["average"], FlowSettings(**state["settings"]))
    export_flow(network, CLIPTokenizer.from_pretrained(base / "tokenizer"), folder, base)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    log.info("exported step %s of flow to %s: %.2f MB", state["step"], folder, size)
    return folder

"""Trains the diorama's SamModel: a 128x128 picture and boxes or points to masks, with Segment Anything's own losses."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from gas_diorama import folders
from gas_diorama.train.training import Average, learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.drawing import masks
from gas_diorama.world.scene import SIZE, Scene, Thing

WEIGHTS = folders.WEIGHTS / "sam"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Segment Anything's normalisation of colours: ImageNet's."""


@dataclass(frozen=True)
class SegmenterSettings:
    """Size and schedule of the segmenter's training.

    A step encodes `batch` pictures once each and asks `boxes` boxes and `points` single points of every one.
    """

    patch: int = 8
    width: int = 96
    layers: int = 4
    heads: int = 3
    window: int = 8
    global_layers: tuple[int, ...] = (2,)
    decoder_width: int = 64
    decoder_heads: int = 4
    decoder_mlp: int = 192
    boxes: int = 4
    points: int = 3
    steps: int = 2600
    batch: int = 8
    peak: float = 1e-3
    warm_up: int = 100
    average: float = 0.998
    scenes: int = 20000
    seed: int = 0
    save_every: int = 250
    measured: int = 64
    tested: int = 200


def build_segmenter(settings: SegmenterSettings) -> SamModel:
    """The untrained network, of a geometry that segment_anything.modeling.Sam can have too.

    Linear layers, convolutions and tokens start as torch's own (as in the original classes), and the frequencies of
    positions with deviation 1: transformers' defaults (0.02; half the width) are made for loading finished weights.
    """
    config = SamConfig(
        vision_config={
            "hidden_size": settings.width,
            "output_channels": settings.decoder_width,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "image_size": SIZE,
            "patch_size": settings.patch,
            "window_size": settings.window,
            "global_attn_indexes": list(settings.global_layers),
            "num_pos_feats": settings.decoder_width // 2,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={
            "hidden_size": settings.decoder_width,
            "image_size": SIZE,
            "patch_size": settings.patch,
        },
        mask_decoder_config={
            "hidden_size": settings.decoder_width,
            "mlp_dim": settings.decoder_mlp,
            "num_attention_heads": settings.decoder_heads,
            "iou_head_hidden_dim": settings.decoder_width,
            "layer_norm_eps": 1e-5,  # torch's default, which segment_anything's decoder has
        },
    )
    # Plain attention trains half as fast again as the fused one on CPUs.
    network = AutoModel.from_config(config, attn_implementation="eager")
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)):
            module.reset_parameters()
    with torch.no_grad():
        nn.init.normal_(network.shared_image_embedding.positional_embedding)
        nn.init.trunc_normal_(network.vision_encoder.pos_embed, std=0.02)
    return network


def image_processor(settings: SegmenterSettings) -> SamImageProcessorPil:
    """The picture's way into the network: longest side to 128 pixels, ImageNet's normalisation, padded to a square."""
    side = 4 * SIZE // settings.patch
    return SamImageProcessorPil(
        size={"longest_edge": SIZE},
        pad_size={"height": SIZE, "width": SIZE},
        mask_size={"longest_edge": side},
        mask_pad_size={"height": side, "width": side},
        image_mean=list(MEAN),
        image_std=list(DEVIATION),
    )


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, 128, 128, 3) to normalised float32 (n, 3, 128, 128)."""
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / deviation


@dataclass(frozen=True)
class Part:
    """One thing, the ground or the sky: its visible `mask` (bool (128, 128)) and the `square` it was drawn into."""

    what: Thing | str
    mask: NDArray[np.bool_]
    square: tuple[int, int, int, int] | None

    @property
    def box(self) -> NDArray[np.float64]:
        """The tight box around the visible mask: x0, y0, x1, y1 in pixels, the last two exclusive."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def parts(scene: Scene) -> list[Part]:
    """The scene's things, ground and sky as far as they can be seen, things first in the scene's order."""
    seen = masks(scene)
    listed = [Part(thing, seen[thing] > 0.5, thing.box) for thing in scene.objects]
    listed += [Part(name, seen[name] > 0.5, None) for name in ("ground", "sky")]
    return [part for part in listed if part.mask.any()]


def jittered(box: NDArray[np.float64], rng: np.random.Generator, share: float) -> NDArray[np.float64]:
    """The box, each edge moved at random (normal, deviation `share` of its side, twice that at most), in the picture
    and at least two pixels wide and high."""
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    moved = box + sides * share * np.clip(rng.standard_normal(4), -2, 2)
    moved = np.clip(moved, 0, SIZE)
    for low, high in ((0, 2), (1, 3)):
        if moved[high] - moved[low] < 2:
            moved[low], moved[high] = box[low], box[high]
    return moved


def prompts(scene: Scene, settings: SegmenterSettings, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Boxes float32 (boxes, 4), points float32 (points, 2) and the masks meant, bool (boxes + points, 128, 128).

    Every thing gets a box first, then chance decides. A box is the visible thing's or the square that it was drawn
    into, with the errors of a detector; a point is any pixel of the part.
    """
    listed = parts(scene)
    things = [part for part in listed if part.square is not None]
    order = [things[int(i)] for i in rng.permutation(len(things))][: settings.boxes]
    while len(order) < settings.boxes:
        order.append(listed[int(rng.integers(len(listed)))])
    boxes, points, wanted = [], [], []
    for part in order:
        box = part.box
        if part.square is not None and rng.random() < 0.3:
            box = np.clip(np.array(part.square, float), 0, SIZE)
        boxes.append(jittered(box, rng, float(rng.choice((0.01, 0.04, 0.08)))))
        wanted.append(part.mask)
    for _ in range(settings.points):
        part = listed[int(rng.integers(len(listed)))]
        rows, columns = np.nonzero(part.mask)
        pick = int(rng.integers(len(rows)))
        points.append((columns[pick], rows[pick]))
        wanted.append(part.mask)
    return np.array(boxes, np.float32), np.array(points, np.float32).reshape(-1, 2), np.stack(wanted)


def ask(network: SamModel, embedding: Tensor, boxes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """All four masks' logits (n, prompts, 4, side, side), single mask first, and predicted IoUs (n, prompts, 4). The
    side is four times the embedding's.

    `embedding` is (n, c, h, w), `boxes` (n, p, 4) and `points` (n, q, 2) in pixels; the answer is for boxes, then
    points. Positions are encoded in float32: bfloat16 would move them by half a pixel.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        wide = network.get_image_wide_positional_embeddings().expand(len(embedding), -1, -1, -1)
        box_tokens, dense = network.prompt_encoder(None, None, boxes, None)
        tokens = [box_tokens]
        if points.shape[1]:
            labels = torch.ones(points.shape[:2], dtype=torch.long, device=points.device)[..., None]
            tokens.append(network.prompt_encoder(points[:, :, None], labels, None, None)[0])
    decoder = network.mask_decoder
    # The decoder itself drops the single mask or the three: asking for both at once means taking its slice away.
    logits, quality = _all_masks(decoder, embedding, wide, torch.cat(tokens, dim=1), dense)
    return logits.float(), quality.float()


def full_size(logits: Tensor) -> Tensor:
    """Logits (n, p, h, w) at the picture's size, (n, p, 128, 128)."""
    return F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)


def _all_masks(decoder: Any, embedding: Tensor, wide: Tensor, tokens: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    kept: dict[str, Tensor] = {}

    def keep(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        kept["quality"] = answer

    def keep_pixels(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        kept["pixels"] = answer

    def keep_tokens(module: nn.Module, given: object, answer: tuple[Tensor, Tensor]) -> None:
        kept["tokens"] = answer[0]

    hooks = [
        decoder.iou_prediction_head.register_forward_hook(keep),
        decoder.upscale_conv2.register_forward_hook(keep_pixels),
        decoder.transformer.register_forward_hook(keep_tokens),
    ]
    try:
        three, _ = decoder(embedding, wide, tokens, dense, multimask_output=True)
    finally:
        for hook in hooks:
            hook.remove()
    weights = decoder.output_hypernetworks_mlps[0](kept["tokens"][:, :, 1])
    pixels = decoder.activation(kept["pixels"]).unflatten(0, weights.shape[:2])
    single = torch.einsum("npc,npchw->nphw", weights, pixels)
    return torch.cat([single[:, :, None].to(three.dtype), three], dim=2), kept["quality"]


def losses(logits: Tensor, quality: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Segment Anything's losses (Kirillov et al. 2023, appendix A) as means over prompts: "mask", "quality" and,
    to look at, "iou" of the single mask.

    `logits` (n, p, 4, h, w), `quality` (n, p, 4), `wanted` bool (n, p, 128, 128). The target of a cell is the share of
    it that is wanted, so that the outline, where the logit is 0, runs between cells too; focal is therefore the form
    for soft targets (Li et al. 2020, equation 6). A mask's loss is 20 focal + dice; of the three masks only the best is
    trained, but for a twentieth of their mean that keeps the other two usable.
    """
    share = F.adaptive_avg_pool2d(wanted.float(), (logits.shape[-2], logits.shape[-1]))
    target = share[:, :, None].expand_as(logits)
    chance = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = ((chance - target).square() * cross).mean((-2, -1))
    both = (chance * target).sum((-2, -1))
    dice = 1 - (2 * both + 1) / (chance.square().sum((-2, -1)) + target.square().sum((-2, -1)) + 1)
    each = 20 * focal + dice
    with torch.no_grad():
        found, hit = logits > 0, target > 0.5
        iou = (found & hit).sum((-2, -1)) / (found | hit).sum((-2, -1)).clamp(min=1)
    three = each[..., 1:]
    mask = each[..., 0].mean() + three.min(-1).values.mean() + 0.05 * three.mean()
    return {"mask": mask, "quality": (quality - iou).square().mean(), "iou": iou[..., 0].mean()}


def train_segmenter(out: Path, settings: SegmenterSettings, device: str = "cpu") -> SamModel:
    """The trained network; goes on from `out`/segmenter.pt when that is there. The log ends with its figures on the
    test split."""
    torch.manual_seed(settings.seed)
    network = build_segmenter(settings).to(device).train()
    trained = [p for name, p in network.named_parameters() if "positional_embedding" not in name]
    optimiser = torch.optim.AdamW(trained, lr=settings.peak, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average, first = Average(network, settings.average), 0
    state = load_checkpoint(out / "segmenter.pt")
    if state is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
    bank = SceneBank(settings.scenes, settings.seed)
    size = sum(p.numel() for p in network.parameters()) / 1e6
    log.info("segmenter: %.2f M parameters, from step %d of %d", size, first, settings.steps)
    started, running = time.monotonic(), (0.0, 0.0)
    for step in range(first, settings.steps):
        rng = np.random.default_rng((settings.seed, 3, step))
        known = min(settings.scenes, 1500 + settings.batch * step // 2)
        numbers = rng.integers(0, known, settings.batch)
        drawn = [prompts(bank.scene(int(n)), settings, rng) for n in numbers]
        boxes, points, wanted = (torch.from_numpy(np.stack(values)).to(device) for values in zip(*drawn, strict=True))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            embedding = network.vision_encoder(to_pixels(bank.pictures(numbers)).to(device)).last_hidden_state
            logits, quality = ask(network, embedding, boxes, points)
        loss = losses(logits, quality, wanted)
        optimiser.zero_grad(set_to_none=True)
        (loss["mask"] + loss["quality"]).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        average.update(network, step)
        now = (loss["mask"].item(), loss["iou"].item())
        running = now if step == first else (0.97 * running[0] + 0.03 * now[0], 0.97 * running[1] + 0.03 * now[1])
        last = step + 1 == settings.steps
        if step % 50 == 0 or last:
            rate = (step + 1 - first) * settings.batch / (time.monotonic() - started)
            log.info("segmenter step %d loss %.4f IoU %.3f, %.1f pictures/s", step, *running, rate)
        if (step + 1) % settings.save_every == 0 or last:
            save_checkpoint(
                out / "segmenter.pt",
                {
                    "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.weights,
                    "step": step + 1,
                    "settings": asdict(settings),
                },
            )
            mean = averaged_segmenter(out)[0].to(device)
            log.info("segmenter step %d: %s", step + 1, shown(measure(mean, "validation", settings.measured)))
    finished = averaged_segmenter(out)[0]
    log.info("segmenter on %d test scenes: %s", settings.tested, shown(measure(finished, "test", settings.tested)))
    return finished


def averaged_segmenter(out: Path) -> tuple[SamModel, SegmenterSettings]:
    """The network with the averaged weights of the last checkpoint under `out`, and its settings."""
    state = load_checkpoint(out / "segmenter.pt")
    if state is None:
        raise FileNotFoundError(
            f"no segmenter checkpoint in {out}: run `python -m gas_diorama.train segmenter --out {out}` first"
        )
    settings = SegmenterSettings(**state["settings"])
    network = build_segmenter(settings)
    network.load_state_dict(state["average"])
    return network.eval(), settings


@torch.no_grad()
def measure(network: SamModel, part: str, count: int, seed: int = 0, share: float = 0.03) -> dict[str, float]:
    """Mean IoUs over `count` scenes of a split, asked with visible parts' boxes whose edges are off by `share` of a
    side: of "all" parts, "things", "small" things, "ground" and "sky", and the share of parts under 0.75 ("poor")."""
    bank = SceneBank(count, seed + 77, part)
    rng = np.random.default_rng((seed, 4))
    found: dict[str, list[float]] = {name: [] for name in ("all", "things", "small", "ground", "sky")}
    for start in range(0, count, 8):
        numbers = np.arange(start, min(start + 8, count))
        embeddings = network.vision_encoder(to_pixels(bank.pictures(numbers)).to(network.device)).last_hidden_state
        for number, embedding in zip(numbers, embeddings, strict=True):
            listed = parts(bank.scene(int(number)))
            boxes = np.stack([jittered(one.box, rng, share) for one in listed]).astype(np.float32)
            boxes_in = torch.from_numpy(boxes)[None].to(network.device)
            logits, _ = ask(network, embedding[None], boxes_in, boxes_in.new_zeros(1, 0, 2))
            for one, logit in zip(listed, full_size(logits[:, :, 0])[0].cpu().numpy(), strict=True):
                iou = float((one.mask & (logit > 0)).sum() / (one.mask | (logit > 0)).sum())
                found["all"].append(iou)
                found[one.what if isinstance(one.what, str) else "things"].append(iou)
                if isinstance(one.what, Thing) and one.what.is_small:
                    found["small"].append(iou)
    figures = {name: float(np.mean(values)) for name, values in found.items() if values}
    return figures | {"poor": float(np.mean(np.array(found["all"]) < 0.75))}


def shown(figures: Mapping[str, float]) -> str:
    """The figures in one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


def export_segmenter(out: Path, folder: Path = WEIGHTS) -> Path:
    """`folder`, which then holds the averaged weights of `out`/segmenter.pt in half precision, config.json and
    preprocessor_config.json, as SamModel and SamImageProcessorPil load them. Each file is renamed into its place."""
    network, settings = averaged_segmenter(out)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        network.half().save_pretrained(partial)
        image_processor(settings).save_pretrained(partial)
        written: Sequence[Path] = sorted(Path(partial).iterdir())
        for path in written:
            path.chmod(0o644)
            os.replace(path, folder / path.name)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    log.info("exported the segmenter to %s: %.1f MB", folder, size)
    return folder

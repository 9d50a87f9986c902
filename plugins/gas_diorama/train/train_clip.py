"""Trains the diorama's CLIPModel: pictures and texts of the world to one space, with the shipped tokenizer.

Contrast alone teaches a small network slowly, and mostly to tell scenes apart by their backdrops. So each scene comes
with scenes that differ from it in one attribute, as pictures and as captions, and with phrases that are true of it and
others that are not; and what each patch shows is asked of it too, through a head that is thrown away.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from gas_diorama.train.classifier import spoilt
from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.train_backbone import cell_loss
from gas_diorama.train.training import fit, load_checkpoint, log
from gas_diorama.world.asking import LABELS, cell_labels
from gas_diorama.world.drawing import render
from gas_diorama.world.language import caption, phrase
from gas_diorama.world.networks import cpu_generator, to_tensor
from gas_diorama.world.pairs import sample_pair
from gas_diorama.world.scene import (
    COLOURS,
    EDIT_FORMS,
    GROUNDS,
    KINDS,
    SIZE,
    SKIES,
    Scene,
    Thing,
    apply,
    sample_edit,
    sample_scene,
)
from gas_diorama.world.tokenizer import MAX_LENGTH

CLIP = WEIGHTS.parent / "clip"
ONE_ATTRIBUTE = ("kind", "colour", "ground", "sky")
"""Forms of edit after which a scene differs in one attribute."""


@dataclass(frozen=True)
class ClipSettings:
    """Size and schedule of the training. A step sees `batch` pictures: half of them scenes, half the same scenes with
    one attribute changed; each is told apart from the batch's captions and from `wrong` captions of its own."""

    patch: int = 16
    width: int = 128
    layers: int = 4
    heads: int = 4
    text_width: int = 96
    text_layers: int = 2
    text_heads: int = 3
    projection: int = 64
    steps: int = 3000
    batch: int = 32
    wrong: int = 4
    cells: float = 0.5
    peak: float = 1e-3
    warm_up: int = 200
    decay: float = 0.05
    average: float = 0.998
    seed: int = 0
    save_every: int = 250
    measure_every: int = 500
    measured: int = 100


def build_clip(settings: ClipSettings, tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained network."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.text_width,
        "intermediate_size": 4 * settings.text_width,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": settings.text_heads,
        "max_position_embeddings": MAX_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": SIZE,
        "patch_size": settings.patch,
        "hidden_size": settings.width,
        "intermediate_size": 4 * settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=settings.projection))


def text_inputs(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Mapping[str, Tensor]:
    """What a CLIPModel takes for texts, padded to the longest."""
    return tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")


def false_neighbours(scene: Scene, rng: np.random.Generator, count: int) -> list[Scene]:
    """`count` different scenes, each `scene` with one attribute changed: a kind, a colour, the ground or the sky."""
    forms = ONE_ATTRIBUTE if scene.objects else ("ground", "sky")
    most = len(GROUNDS) + len(SKIES) - 2
    if not scene.objects and count > most:
        raise ValueError(f"a scene without things has {most} neighbours, not {count}: ask for fewer")
    found: dict[str, Scene] = {}
    while len(found) < count:
        edit = sample_edit(scene, rng, str(rng.choice(forms)))
        if edit is not None:
            other = apply(scene, [edit])
            found[caption(other)] = other
    return list(found.values())


def true_and_false_phrases(scene: Scene, rng: np.random.Generator, wrong: int) -> list[str]:
    """A phrase that is true of a part of the scene, and `wrong` different ones that are not, the nearest first: one
    word changed."""
    parts: list[Thing | str] = [*scene.objects, scene.ground, scene.sky]
    part = parts[int(rng.integers(len(parts)))]
    names = {phrase(thing) for thing in scene.objects}
    others = [phrase(Thing(k, c, 0, 0, 1)) for k in KINDS for c in COLOURS]
    if isinstance(part, Thing):
        near = [one for one in others if one.split()[1] == part.colour or one.split()[2] == part.kind]
    else:
        near = [phrase(one) for one in (GROUNDS if part == scene.ground else SKIES) if one != part]
    near = [one for one in near if one not in names]
    far = [one for one in others if one not in names and one not in near]
    chosen = [near[i] for i in rng.permutation(len(near))] + [far[i] for i in rng.permutation(len(far))]
    return [phrase(part), *chosen[:wrong]]


def _training_scenes(rng: np.random.Generator, count: int) -> list[Scene]:
    """`count` training scenes: scenes, and after them the same ones with one edit."""
    pairs = [sample_pair(rng, dict.fromkeys(EDIT_FORMS, 1.0), "train") for _ in range((count + 1) // 2)]
    return [*(pair.before for pair in pairs), *(pair.after for pair in pairs)][:count]


class Trained(nn.Module):
    """The CLIPModel and the head that is thrown away."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.head = nn.Linear(clip.config.vision_config.hidden_size, len(LABELS))

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of pictures (n, d) and texts (m, d), and what each patch shows (n, patches, labels)."""
        seen = self.clip.vision_model(pixels)
        read = self.clip.text_model(ids, mask).pooler_output
        pictures, texts = self.clip.visual_projection(seen.pooler_output), self.clip.text_projection(read)
        patches = self.head(seen.last_hidden_state[:, 1:].float())
        return F.normalize(pictures.float(), dim=-1), F.normalize(texts.float(), dim=-1), patches


def contrast(pictures: Tensor, texts: Tensor, own: Tensor, phrases: Tensor, scale: Tensor) -> Tensor:
    """The three contrasts in sum: a picture's caption among the batch's and its own wrong ones, a caption's picture
    among the batch's, and a picture's true phrase among its false ones.

    Args:
        pictures: unit vectors (n, d).
        texts: of their captions (n, d).
        own: of each one's wrong captions (n, w, d).
        phrases: of each one's phrases, the true one first (n, 1 + w, d).
        scale: the cosine's factor.
    """
    first = torch.zeros(len(pictures), dtype=torch.long, device=pictures.device)
    right = torch.arange(len(pictures), device=pictures.device)
    batch = scale * pictures @ texts.T
    wrong = scale * (pictures[:, None] * own).sum(-1)
    said = scale * (pictures[:, None] * phrases).sum(-1)
    among = F.cross_entropy(torch.cat([batch, wrong], 1), right) + F.cross_entropy(batch.T, right)
    return among + F.cross_entropy(said, first)


def train_clip(
    out: Path, settings: ClipSettings, tokenizer_folder: Path = WEIGHTS / "tokenizer", device: str = "cpu"
) -> CLIPModel:
    """The network trained to `settings.steps`, with averaged weights; goes on from `out`/clip.pt when that is there."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(settings.seed)
    network = Trained(build_clip(settings, tokenizer)).to(device).train()
    side, n, wrong = SIZE // settings.patch, settings.batch, settings.wrong

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((settings.seed, 31, step))
        scenes = _training_scenes(rng, n)
        texts = [caption(scene, rng) for scene in scenes]
        for scene in scenes:
            texts += [caption(one, rng) for one in false_neighbours(scene, rng, wrong)]
        for scene in scenes:
            texts += true_and_false_phrases(scene, rng, wrong)
        pixels = to_tensor(np.stack([render(scene) for scene in scenes]))
        pixels = spoilt(pixels, cpu_generator(settings.seed + 3, step))
        labels = torch.from_numpy(np.stack([cell_labels(scene, [side]) for scene in scenes]))
        words = text_inputs(tokenizer, texts)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            inputs = (pixels, words["input_ids"], words["attention_mask"])
            pictures, said, patches = network(*(one.to(device) for one in inputs))
        captions, own, phrases = said.split([n, n * wrong, n * (1 + wrong)])
        scale = network.clip.logit_scale.exp().clamp(max=100)
        loss = contrast(pictures, captions, own.unflatten(0, (n, wrong)), phrases.unflatten(0, (n, 1 + wrong)), scale)
        return loss + settings.cells * cell_loss(patches, labels.to(device))

    def measure(step: int, average: Mapping[str, Tensor], last: bool) -> None:
        if settings.measured and (step % settings.measure_every == 0 or last):
            found = measure_clip(_averaged(average, settings, tokenizer), tokenizer, settings.measured, "validation")
            log.info("clip step %d  %s", step, "  ".join(f"{key} {value:.3f}" for key, value in found.items()))

    return _averaged(fit(out / "clip.pt", network, settings, loss_at, measure), settings, tokenizer)


def _averaged(weights: Mapping[str, Tensor], settings: ClipSettings, tokenizer: CLIPTokenizer) -> CLIPModel:
    clip = build_clip(settings, tokenizer)
    clip.load_state_dict({name[5:]: value for name, value in weights.items() if name.startswith("clip.")})
    return clip.eval()


@torch.no_grad()
def measure_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, count: int, part: str, wrong: int = 8) -> dict[str, float]:
    """Shares in [0, 1] over `count` held-out scenes of the split `part`.

    caption: the right plain caption scores above `wrong` ones with one attribute changed; phrase: a true phrase above
    `wrong` false ones; picture: the right picture of a caption above `wrong` with one attribute changed.
    """
    right: dict[str, list[bool]] = {"caption": [], "phrase": [], "picture": []}
    for number in range(count):
        rng = np.random.default_rng((41, number))
        scene = sample_scene(rng, part=part)
        others = false_neighbours(scene, rng, wrong)
        phrases = true_and_false_phrases(scene, rng, wrong)
        pixels = to_tensor(np.stack([render(one) for one in (scene, *others)])).to(clip.device)
        texts = text_inputs(tokenizer, [caption(one) for one in (scene, *others)] + phrases)
        scores = clip(pixel_values=pixels, **{k: v.to(clip.device) for k, v in texts.items()}).logits_per_image
        captions, said = scores[:, : 1 + len(others)], scores[0, 1 + len(others) :]
        right["caption"].append(int(captions[0].argmax()) == 0)
        right["picture"].append(int(captions[:, 0].argmax()) == 0)
        right["phrase"].append(int(said.argmax()) == 0)
    return {name: float(np.mean(all_of)) for name, all_of in right.items()}


def export_clip(out: Path, folder: Path = CLIP, tokenizer_folder: Path = WEIGHTS / "tokenizer") -> Path:
    """`folder`, which then holds the averaged weights of `out`/clip.pt as transformers keeps a CLIP: config,
    safetensors in half precision, tokenizer and image processor. Each file is written elsewhere first and renamed.

    Raises:
        FileNotFoundError: nothing was trained there.
    """
    state = load_checkpoint(out / "clip.pt")
    if state is None:
        raise FileNotFoundError(f"{out / 'clip.pt'} is missing: run python -m gas_diorama.train clip --out {out}")
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    clip = _averaged(state["average"], ClipSettings(**state["settings"]), tokenizer).half()
    half = [0.5, 0.5, 0.5]
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=half, image_std=half
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        for part in (clip, tokenizer, processor):
            part.save_pretrained(partial)
        for path in sorted(Path(partial).iterdir()):
            path.chmod(0o644)
            os.replace(path, folder / path.name)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    log.info("exported step %s of clip to %s: %.2f MB", state["step"], folder, size)
    return folder


def measure_exported(folder: Path = CLIP, count: int = 500) -> dict[str, float]:
    """What `measure_clip` finds of the exported CLIP in `folder` on `count` scenes of the test split; logged too."""
    clip, tokenizer = CLIPModel.from_pretrained(folder).float().eval(), CLIPTokenizer.from_pretrained(folder)
    found = measure_clip(clip, tokenizer, count, "test")
    log.info("clip in %s, %d test scenes  %s", folder, count, "  ".join(f"{k} {v:.3f}" for k, v in found.items()))
    return found

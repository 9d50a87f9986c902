"""Trains the diorama's CLIPTextModel, before the denoiser does, to tell from its end token what a text speaks of."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from gas_diorama.train.training import learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.language import caption, instruction, short_phrase
from gas_diorama.world.networks import token_ids
from gas_diorama.world.scene import COLOURS, EDIT_FORMS, GROUNDS, KINDS, SKIES, Scene, sample_edits, sample_scene
from gas_diorama.world.tokenizer import MAX_LENGTH, train_tokenizer

_WORDS = tuple(f"{c} {k}" for c in COLOURS for k in KINDS) + KINDS + GROUNDS + tuple(f"{s} sky" for s in SKIES)
_ACTIONS = ("change", "add", "remove")


@dataclass(frozen=True)
class TextSettings:
    """Size and schedule of the text encoder's training."""

    width: int = 192
    layers: int = 3
    heads: int = 3
    vocabulary: int = 2000
    steps: int = 700
    batch: int = 128
    peak: float = 1e-3
    warm_up: int = 50
    seed: int = 0


def build_text_encoder(settings: TextSettings, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained network, with the tokenizer's special ids in its configuration (it pools at the first end
    token)."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=4 * settings.width,
            projection_dim=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def spoken_of(text: str) -> list[float]:
    """One for each of the world's names that occurs in the text, zero for the others."""
    return [float(f" {word} " in f" {text.replace(',', ' ')} ") for word in _WORDS]


def _example(rng: np.random.Generator) -> tuple[str, list[float]]:
    """A text and what it means: words of before, words of after, the action (none for a caption)."""
    scene: Scene = sample_scene(rng, part="train")
    if rng.random() < 0.3:
        edits = sample_edits(scene, rng, [str(rng.choice(EDIT_FORMS))])
        if edits:
            edit = edits[0]
            plain = instruction(edit)
            before, _, after = plain.partition(" into ") if edit.action == "change" else (plain, "", "")
            if edit.action == "add":
                before, after = "", plain
            action = [float(edit.action == known) for known in _ACTIONS]
            return instruction(edit, rng), spoken_of(before) + spoken_of(after) + action
    text = "" if rng.random() < 0.05 else short_phrase(scene, rng) if rng.random() < 0.4 else caption(scene, rng)
    return text, [0.0] * len(_WORDS) + spoken_of(text) + [0.0] * len(_ACTIONS)


def train_text(out: Path, settings: TextSettings, device: str = "cpu") -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The trained encoder and its tokenizer; goes on from `out`/text.pt when that is there."""
    torch.manual_seed(settings.seed)
    tokenizer = load_tokenizer(out, settings)
    encoder = build_text_encoder(settings, tokenizer).to(device).train()
    head = nn.Linear(settings.width, 2 * len(_WORDS) + len(_ACTIONS)).to(device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.peak, betas=(0.9, 0.98), weight_decay=0.01)
    first, state = 0, load_checkpoint(out / "text.pt")
    if state is not None:
        encoder.load_state_dict(state["network"])
        head.load_state_dict(state["head"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    size = sum(p.numel() for p in encoder.parameters()) / 1e6
    log.info("text: %.2f M parameters, %d tokens, from step %d of %d", size, len(tokenizer), first, settings.steps)
    started = time.monotonic()
    for step in range(first, settings.steps):
        rng = np.random.default_rng((settings.seed, 7, step))
        texts, labels = zip(*(_example(rng) for _ in range(settings.batch)), strict=True)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        ids = token_ids(tokenizer, list(texts))
        ids = ids[:, : int((ids != tokenizer.eos_token_id).sum(1).max()) + 1].to(device)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            pooled = encoder(ids).pooler_output
            loss = nn.functional.binary_cross_entropy_with_logits(
                head(pooled).float(), torch.tensor(labels, device=device)
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        last = step + 1 == settings.steps
        if step % 50 == 0 or last:
            log.info(
                "text step %d loss %.5f, %.0f texts/s",
                step,
                loss.item(),
                (step + 1 - first) * settings.batch / (time.monotonic() - started),
            )
        if last or (step + 1) % 250 == 0:
            save_checkpoint(
                out / "text.pt",
                {
                    "network": encoder.state_dict(),
                    "head": head.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "settings": asdict(settings),
                },
            )
    return encoder.eval(), tokenizer


def load_tokenizer(out: Path, settings: TextSettings) -> CLIPTokenizer:
    """The tokenizer saved under `out`, trained and saved there first when it is not."""
    folder = out / "tokenizer"
    if not (folder / "tokenizer_config.json").exists():
        train_tokenizer(settings.vocabulary, seed=settings.seed).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)

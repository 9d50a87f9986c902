"""`python -m gas_diorama.train.evaluate`: how good the shipped networks are, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from gas_diorama.train.classifier import ClassifierSettings, judge, train_classifier
from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.train_vae import psnr
from gas_diorama.train.training import log_to
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.language import caption
from gas_diorama.world.networks import round_trip


def text_to_image(
    pipeline: StableDiffusionPipeline, texts: list[str], seed: int, guidance_scale: float, steps: int, batch: int = 25
) -> np.ndarray:
    """One picture for each text, drawn by diffusers' own pipeline: uint8 (n, 128, 128, 3)."""
    generator = torch.Generator().manual_seed(seed)
    done = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(texts), batch):
            drawn = pipeline(
                texts[start : start + batch],
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                generator=generator,
                output_type="np",
            ).images
            done.append(np.rint(drawn * 255).astype(np.uint8))
    return np.concatenate(done)


def evaluate(
    weights: Path, out: Path, scenes: int, captions: int, guidance_scale: float, steps: int, seed: int
) -> dict[str, dict[str, float]]:
    """Figures of the folder `weights` on held-out scenes of the test split: autoencoder and classifier on `scenes` of
    them, text to image on the captions of the first `captions`. The classifier is trained into `out` when it is not
    there yet."""
    pipeline = StableDiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    classifier = train_classifier(out, pipeline.vae, ClassifierSettings())
    bank = SceneBank(max(scenes, captions), seed=1, part="test")
    pictures = bank.pictures(np.arange(scenes))
    trips = round_trip(pipeline.vae, pictures)
    quality = psnr(pictures, trips)
    asked = [bank.scene(number) for number in range(captions)]
    drawn = text_to_image(pipeline, [caption(scene) for scene in asked], seed, guidance_scale, steps)
    return {
        "vae": {"psnr_mean": float(quality.mean()), "psnr_lowest": float(quality.min())},
        "classifier_on_round_trips": judge(classifier, trips, [bank.scene(number) for number in range(scenes)]),
        "text_to_image": judge(classifier, drawn, asked),
        "settings": {
            "scenes": scenes,
            "captions": captions,
            "guidance_scale": guidance_scale,
            "steps": steps,
            "seed": seed,
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Prints the figures and writes them to `--json`."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("runs/diorama"), help="where the classifier is kept")
    parser.add_argument("--json", type=Path, default=None, help="file for the figures (default: OUT/figures.json)")
    parser.add_argument("--scenes", type=int, default=500, help="held-out scenes for autoencoder and classifier")
    parser.add_argument("--captions", type=int, default=200, help="held-out captions to draw")
    parser.add_argument("--guidance-scale", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    log_to(chosen.out)
    figures = evaluate(
        chosen.weights, chosen.out, chosen.scenes, chosen.captions, chosen.guidance_scale, chosen.steps, chosen.seed
    )
    for title, values in figures.items():
        sys.stdout.write(f"{title:28}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items()) + "\n")
    path = chosen.json or chosen.out / "figures.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""`python -m gas_diorama.train.evaluate`: how good the networks are, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from gas_diorama.train.classifier import ClassifierSettings, judge, train_classifier
from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.flow import FLOW, flow_ids, load_flow, text_states
from gas_diorama.train.train_vae import psnr
from gas_diorama.train.training import log_to
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.language import caption
from gas_diorama.world.networks import round_trip

Painter = Callable[[list[str], torch.Generator], np.ndarray]
"""One picture for each text: floats in [0, 1], (n, 128, 128, 3)."""


def diffusion_painter(pipeline: StableDiffusionPipeline, guidance_scale: float, steps: int) -> Painter:
    """The denoiser's: diffusers' own pipeline."""
    pipeline.set_progress_bar_config(disable=True)

    def paint(texts: list[str], generator: torch.Generator) -> np.ndarray:
        settings = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "generator": generator}
        return pipeline(texts, output_type="np", **settings).images

    return paint


def flow_painter(folder: Path, guidance_scale: float, steps: int, device: str = "cpu") -> Painter:
    """The flow model's: diffusers' own pipeline, told the states of its one text encoder."""
    pipeline, encoder = load_flow(folder)
    pipeline.to(device).set_progress_bar_config(disable=True)
    encoder.to(device)
    empty = text_states(encoder, flow_ids(pipeline.tokenizer, [""]))

    def paint(texts: list[str], generator: torch.Generator) -> np.ndarray:
        states, pooled = text_states(encoder, flow_ids(pipeline.tokenizer, texts))
        return pipeline(
            prompt_embeds=states,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=empty[0].expand_as(states),
            negative_pooled_prompt_embeds=empty[1].expand_as(pooled),
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generator,
            output_type="np",
        ).images

    return paint


def text_to_image(paint: Painter, texts: list[str], seed: int, device: str = "cpu", batch: int = 25) -> np.ndarray:
    """One picture for each text: uint8 (n, 128, 128, 3)."""
    generator, done = torch.Generator().manual_seed(seed), []
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        for start in range(0, len(texts), batch):
            done.append(np.rint(paint(texts[start : start + batch], generator) * 255).astype(np.uint8))
    return np.concatenate(done)


def evaluate(
    weights: Path,
    out: Path,
    scenes: int,
    captions: int,
    guidance_scale: float,
    steps: int,
    seed: int,
    flow: Path | None = None,
    device: str = "cpu",
    until: float | None = None,
) -> dict[str, dict[str, float]]:
    """Figures of the folder `weights` on held-out scenes of the test split: autoencoder and classifier on `scenes` of
    them, text to image on the captions of the first `captions`, with the flow model in `flow` too if that is a folder.
    The classifier is trained into `out` when it is not there yet, to the end or to the time `until`."""
    pipeline = StableDiffusionPipeline.from_pretrained(weights, dtype=torch.float32).to(device)
    classifier = train_classifier(out, pipeline.vae, ClassifierSettings(), until)
    bank = SceneBank(max(scenes, captions), seed=1, part="test")
    pictures = bank.pictures(np.arange(scenes))
    trips = round_trip(pipeline.vae, pictures)
    quality = psnr(pictures, trips)
    asked = [bank.scene(number) for number in range(captions)]
    texts = [caption(scene) for scene in asked]
    painters = {"text_to_image": diffusion_painter(pipeline, guidance_scale, steps)}
    if flow is not None and (flow / "model_index.json").exists():
        painters["flow"] = flow_painter(flow, guidance_scale, steps, device)
    drawn = {
        name: judge(classifier, text_to_image(paint, texts, seed, device), asked) for name, paint in painters.items()
    }
    return {
        "vae": {"psnr_mean": float(quality.mean()), "psnr_lowest": float(quality.min())},
        "classifier_on_round_trips": judge(classifier, trips, [bank.scene(number) for number in range(scenes)]),
        **drawn,
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
    parser.add_argument("--flow", type=Path, default=FLOW, help="folder of the flow model; measured if it is there")
    parser.add_argument("--out", type=Path, default=Path("runs/diorama"), help="where the classifier is kept")
    parser.add_argument("--json", type=Path, default=None, help="file for the figures (default: OUT/figures.json)")
    parser.add_argument("--scenes", type=int, default=500, help="held-out scenes for autoencoder and classifier")
    parser.add_argument("--captions", type=int, default=200, help="held-out captions to draw")
    parser.add_argument("--guidance-scale", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    log_to(chosen.out)
    figures = evaluate(
        chosen.weights,
        chosen.out,
        chosen.scenes,
        chosen.captions,
        chosen.guidance_scale,
        chosen.steps,
        chosen.seed,
        chosen.flow,
        chosen.device,
    )
    for title, values in figures.items():
        sys.stdout.write(f"{title:28}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items()) + "\n")
    path = chosen.json or chosen.out / "figures.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

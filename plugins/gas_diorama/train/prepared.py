"""`python -m gas_diorama.train all --budget 7m`: trains every network that draws, from the shipped weights on, for so
long, and leaves results at every moment.

The time is shared: what one network leaves over, the next ones get. Each network rests on those before it: the denoiser
on the autoencoder (which a GPU trains too), the flow model on the text encoder that was trained with the denoiser, the
instruction models on the denoiser. Started again
with the same folder, the run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from gas_diorama.train.drawn import drawers
from gas_diorama.train.evaluate import evaluate
from gas_diorama.train.export import export
from gas_diorama.train.flow import load_transformer
from gas_diorama.train.run_folder import Run
from gas_diorama.train.scene_cache import SceneCache
from gas_diorama.train.train_autoencoder import AutoencoderSettings, train_autoencoder
from gas_diorama.train.train_flow import FlowSettings, export_trained_flow, train_flow
from gas_diorama.train.train_instruct import InstructSettings, export_instruct, remove_settings, train_instruct
from gas_diorama.train.train_text import TextSettings
from gas_diorama.train.train_unet import UNetSettings, train_unet
from gas_diorama.train.train_vae import averaged_vae
from gas_diorama.train.training import Diverged, Stopped, load_checkpoint, log

SHARES = {
    "cpu": {"autoencoder": 0.0, "unet": 0.4, "flow": 0.28, "instruct": 0.16, "instruct-remove": 0.04, "figures": 0.12},
    "cuda": {
        "autoencoder": 0.15,
        "unet": 0.37,
        "flow": 0.18,
        "instruct": 0.21,
        "instruct-remove": 0.04,
        "figures": 0.05,
    },
}
"""Of the whole time, by the device. What has no share stays as it is. Figures take the last of it, and are left out
where that is too little for them."""
_FIGURES_SECONDS = {"cuda": 20.0, "cpu": 900.0}
_SCENES, _CAPTIONS, _GUIDANCE, _STEPS = 100, 200, 4.0, 30
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """ "7m", "90s", "1.5h" or "420" in seconds.

    Raises:
        argparse.ArgumentTypeError: anything else, or nothing above zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 90s, 7m or 1.5h")
    return float(found[1]) * _UNITS[found[2] or "s"]


@dataclass(frozen=True)
class Plan:
    """Settings of each network for a device."""

    vae: AutoencoderSettings
    unet: UNetSettings
    flow: FlowSettings
    instruct: InstructSettings
    remove: InstructSettings


def plan(device: str, seed: int = 0) -> Plan:
    """On a GPU large batches, and all scenes made before the first step; on a CPU small ones, and scenes along the
    way. Time alone ends the training."""
    long: dict[str, Any] = {"seed": seed, "steps": 10**8}
    remove = remove_settings(**long | {"seed": seed + 1})
    vae = AutoencoderSettings(**long)
    first = Plan(vae, UNetSettings(**long), FlowSettings(**long), InstructSettings(**long), remove)
    instruct: dict[str, Any] = {"measured": 0}
    if torch.device(device).type == "cpu":
        few: dict[str, Any] = {"first_scenes": 256, "scenes_a_step": 8, "save_every": 100, "previews": 8}
        instruct |= {"first_pairs": 128, "save_every": 100}
        return Plan(
            vae, replace(first.unet, **few), replace(first.flow, **few), replace(first.instruct, **instruct),
            replace(first.remove, **instruct),
        )  # fmt: skip
    many: dict[str, Any] = {"scenes": 100_000, "first_scenes": 100_000, "save_every": 5000, "preview_every": 10**8}
    instruct |= {"batch": 256, "pairs": 36_000, "first_pairs": 36_000, "save_every": 5000}
    remove_pairs = {"pairs": 8_000, "first_pairs": 8_000}
    return Plan(
        vae, replace(first.unet, batch=512, **many), replace(first.flow, batch=1024, **many),
        replace(first.instruct, **instruct), replace(first.remove, **instruct | remove_pairs),
    )  # fmt: skip


def run_prepared(
    out: Path,
    budget: float,
    device: str,
    results: Path | None = None,
    seed: int = 0,
    settings: Plan | None = None,
    shares: Mapping[str, float] | None = None,
    processes: int | None = None,
    compiled: bool = False,
) -> Path:
    """The folder of results after `budget` seconds.

    Args:
        out: the run's folder.
        budget: seconds, from the call on.
        device: that trains.
        results: folder of what to take away (default: `out`/results).
        seed: of everything.
        settings: of the networks (default: those for the device).
        shares: of the time (default: those for the device).
        processes: that draw scenes (default: one for each core on a GPU's machine, one on a CPU).
        compiled: as `train_unet` takes it.

    Raises:
        Stopped: a signal asked for it; the results are written.
    """
    began, chosen, kind = time.monotonic(), settings or plan(device, seed), torch.device(device).type
    given = shares or SHARES[kind]
    workers = processes or (1 if kind == "cpu" else os.cpu_count() or 1)
    run = Run(out, results or out / "results")
    run.begin()
    weights = run.weights

    @cache
    def scenes() -> SceneCache:
        """What the first two networks learn from."""
        tokenizer = CLIPTokenizer.from_pretrained(weights / "sd" / "tokenizer")
        vae = averaged_vae(out).to(device)
        made = SceneCache(vae, tokenizer, chosen.unet.scenes, seed, keep=given["autoencoder"] > 0)
        with drawers(workers) as pool:
            made.grow(chosen.unet.first_scenes, pool)
        log.info("%d scenes after %.0f s", made.known, time.monotonic() - began)
        return made

    def autoencoder(until: float, saved: Callable[[], None]) -> None:
        train_autoencoder(out, chosen.vae, scenes(), device, until)

    def unet(until: float, saved: Callable[[], None]) -> None:
        text = TextSettings(**(load_checkpoint(out / "unet.pt") or {})["text_settings"])
        train_unet(out, chosen.unet, text, device, compiled, until, scenes(), saved)

    def flow(until: float, saved: Callable[[], None]) -> None:
        start = load_transformer(weights / "flow")
        train_flow(out, chosen.flow, weights / "sd", device, until, scenes(), saved, start)

    def instruct(until: float, saved: Callable[[], None]) -> None:
        base, start = weights / "sd", weights / "instruct"
        train_instruct(out, "instruct", chosen.instruct, base, device, start, until, workers, saved)

    def remove(until: float, saved: Callable[[], None]) -> None:
        base, start = weights / "instruct", weights / "instruct-remove"
        train_instruct(out, "instruct-remove", chosen.remove, base, device, start, until, workers, saved)

    stages: dict[str, tuple[Callable[..., None], Callable[[], object]]] = {
        "autoencoder": (autoencoder, lambda: None),  # the denoiser's decoder and its latents change together
        "unet": (unet, lambda: export(out, weights / "sd")),
        "flow": (flow, lambda: export_trained_flow(out, weights / "flow", weights / "sd")),
        "instruct": (
            instruct, lambda: export_instruct(out, "instruct", weights / "instruct", weights / "sd")
        ),
        "instruct-remove": (
            remove, lambda: export_instruct(out, "instruct-remove", weights / "instruct-remove", weights / "instruct")
        ),
    }  # fmt: skip
    if kind != "cpu" and not {"autoencoder", "unet", "flow"} <= {*run.done}:
        scenes()  # before the time is shared
    for name, (train, exported) in stages.items():
        if name in run.done or given[name] == 0:
            continue
        left = {other: share for other, share in given.items() if other not in run.done}
        now = time.monotonic()
        until = now + (began + budget - now) * left[name] / sum(left.values())

        def saved(exported: Callable[[], object] = exported) -> None:
            exported()
            run.pack()

        try:
            train(until, saved)
        except Diverged as error:
            log.info("%s stays as it was at its last checkpoint, or as it was shipped: %s", name, error)
            continue
        except Stopped:
            if (out / f"{name}.pt").exists():
                exported()
            run.pack()
            raise
        if (out / f"{name}.pt").exists():
            run.finish(name)
        else:
            log.info("%s: no time was left for a step", name)
    figures(run, device, began + budget)
    log.info("done after %.0f s of %.0f", time.monotonic() - began, budget)
    run.pack()
    return run.results


def figures(run: Run, device: str, until: float) -> None:
    """Measures text to image on held-out captions into figures.json, if there is time for it until `until`."""
    left = until - time.monotonic()
    needed = _FIGURES_SECONDS["cpu" if torch.device(device).type == "cpu" else "cuda"]
    if left < needed:
        log.info("no figures: %.0f s are left of at least %.0f; run python -m gas_diorama.train.evaluate", left, needed)
        return
    weights, half = run.weights, time.monotonic() + left / 2
    found = evaluate(weights / "sd", run.out, _SCENES, _CAPTIONS, _GUIDANCE, _STEPS, 0, weights / "flow", device, half)
    for title, values in found.items():
        log.info("%s: %s", title, "  ".join(f"{key} {value:.3f}" for key, value in values.items()))
    (run.out / "figures.json").write_text(json.dumps(found, indent=2) + "\n")

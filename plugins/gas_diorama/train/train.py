"""`python -m gas_diorama.train STAGE --out runs/diorama`: trains the networks, resuming where it stopped.

`all --budget 7m` goes on from the shipped weights for so long, with all networks that draw; `all` alone begins anew.
`restore` makes checkpoints of the shipped weights.
SIGTERM and Ctrl-C end the denoisers' training, CLIP's and `all --budget` with a checkpoint, the last with results
too."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from gas_diorama.train.export import WEIGHTS, export
from gas_diorama.train.flow import FLOW
from gas_diorama.train.prepared import run_prepared, seconds
from gas_diorama.train.restore import restore
from gas_diorama.train.train_clip import CLIP, ClipSettings, export_clip, measure_exported, train_clip
from gas_diorama.train.train_detector import export_detector, train_detector
from gas_diorama.train.train_flow import FlowSettings, export_trained_flow, train_flow
from gas_diorama.train.train_instruct import (
    INSTRUCT,
    REMOVE,
    InstructSettings,
    export_instruct,
    remove_settings,
    train_instruct,
)
from gas_diorama.train.train_segmenter import SegmenterSettings, export_segmenter, train_segmenter
from gas_diorama.train.train_text import TextSettings, train_text
from gas_diorama.train.train_unet import UNetSettings, train_unet
from gas_diorama.train.train_vae import DecoderSettings, VAESettings, train_decoder, train_vae
from gas_diorama.train.training import log_to, stop_at_signals
from gas_diorama.world.detector import DetectorSettings

SHARED = ("instruct", "instruct-remove", "clip")
"""Stages that several processes can do together: `torchrun --nproc-per-node 2 -m gas_diorama.train instruct`."""

STOPPABLE = ("unet", "flow", *SHARED)
"""Stages that a signal stops with a checkpoint; the others write one every few minutes."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the stage asked for."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train", description=__doc__)
    stages = ("vae", "decoder", "text", "unet", "export", "all", "restore", "flow", "detector", "segmenter")
    parser.add_argument("stage", choices=(*stages, "instruct", "instruct-remove", "clip"))
    parser.add_argument("--out", type=Path, default=Path("runs/diorama"), help="checkpoints and log")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="training steps (default: the stage's own)")
    parser.add_argument("--budget", type=seconds, default=None, help="all: so long, from the shipped weights (7m, 90s)")
    parser.add_argument("--results", type=Path, default=None, help="all --budget: folder of what to take away")
    parser.add_argument("--compile", action="store_true", help="torch.compile the UNet (needs a C++ compiler)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder that export writes")
    parser.add_argument("--full", action="store_true", help="instruct: train every weight, to compare (no adapter)")
    parser.add_argument("--peak", type=float, default=None, help="instruct stages: highest learning rate")
    parser.add_argument(
        "--base", type=Path, default=None, help="flow, instruct stages: folder of the model to start from"
    )
    parser.add_argument("--begin", type=Path, default=None, help="instruct stages: folder of an adapter to begin with")
    parser.add_argument("--folder", type=Path, default=None, help="flow, instruct, clip: folder that they write")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    first = True
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if chosen.stage not in SHARED:
            parser.error(f"torchrun trains {', '.join(SHARED)}, not {chosen.stage}")
        distributed.init_process_group("gloo" if chosen.device == "cpu" else "nccl")
        first = distributed.get_rank() == 0
    if chosen.budget is not None and chosen.stage != "all":
        parser.error(f"--budget is for all, not {chosen.stage}: use --steps")
    if first:
        log_to(chosen.out)
    if chosen.budget is not None or chosen.stage in STOPPABLE:
        stop_at_signals()
    if chosen.budget is not None:
        run_prepared(chosen.out, chosen.budget, chosen.device, chosen.results, chosen.seed, compiled=chosen.compile)
        return
    steps = {} if chosen.steps is None else {"steps": chosen.steps}
    if chosen.stage == "restore":
        restore(chosen.out, chosen.weights)
    if chosen.stage in ("vae", "all"):
        train_vae(chosen.out, VAESettings(seed=chosen.seed, **steps), chosen.device)
    if chosen.stage == "decoder":
        train_decoder(chosen.out, DecoderSettings(seed=chosen.seed + 50, **steps), chosen.device)
    if chosen.stage in ("text", "all"):
        train_text(chosen.out, TextSettings(seed=chosen.seed, **steps), chosen.device)
    if chosen.stage in ("unet", "all"):
        settings, text_settings = UNetSettings(seed=chosen.seed, **steps), TextSettings(seed=chosen.seed)
        train_unet(chosen.out, settings, text_settings, chosen.device, chosen.compile)
    if chosen.stage == "flow":
        base = chosen.base or WEIGHTS
        train_flow(chosen.out, FlowSettings(seed=chosen.seed, **steps), base, chosen.device)
        export_trained_flow(chosen.out, chosen.folder or FLOW, base)
    if chosen.stage == "detector":
        train_detector(chosen.out, DetectorSettings(seed=chosen.seed, **steps), chosen.device)
        export_detector(chosen.out)
    if chosen.stage == "segmenter":
        train_segmenter(chosen.out, SegmenterSettings(seed=chosen.seed, **steps), chosen.device)
        export_segmenter(chosen.out)
    changed: dict[str, Any] = dict(steps)
    changed |= {"rank": 0} if chosen.full else {}
    changed |= {} if chosen.peak is None else {"peak": chosen.peak}
    if chosen.stage == "instruct":
        instruct, base = InstructSettings(seed=chosen.seed, **changed), chosen.base or WEIGHTS
        train_instruct(chosen.out, "instruct", instruct, base, chosen.device, chosen.begin)
        if first:
            export_instruct(chosen.out, "instruct", chosen.folder or INSTRUCT, base)
    if chosen.stage == "instruct-remove":
        instruct, base = remove_settings(seed=chosen.seed + 1, **changed), chosen.base or INSTRUCT
        train_instruct(chosen.out, "instruct-remove", instruct, base, chosen.device, chosen.begin)
        if first:
            export_instruct(chosen.out, "instruct-remove", chosen.folder or REMOVE, base)
    if chosen.stage == "clip":
        train_clip(chosen.out, ClipSettings(seed=chosen.seed, **steps), device=chosen.device)
        if first:
            measure_exported(export_clip(chosen.out, chosen.folder or CLIP))
    if chosen.stage in ("export", "all"):
        export(chosen.out, chosen.weights)

"""`python -m gas_diorama.train.evaluate_instruct`: how many held-out instructions an instruction model follows, as a
line and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from PIL import Image

from gas_diorama.bench.follow import Guidance, answers, followed, load_parts, shares, sheet
from gas_diorama.train.train_instruct import INSTRUCT
from gas_diorama.world.pairs import held_out


def main(arguments: list[str] | None = None) -> None:
    """Prints the shares followed of all, of each action and of each form, and the mean error outside the edits' regions
    in levels of 255; writes them to `--json`, and source, exact result and answer side by side to `--sheet`."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train.evaluate_instruct", description=__doc__)
    parser.add_argument("--model", type=Path, default=INSTRUCT, help="folder of the instruction model")
    parser.add_argument("--pairs", type=int, default=200, help="held-out instructions, all forms alike")
    parser.add_argument("--part", default="test", choices=("validation", "test"), help="choose on validation")
    parser.add_argument("--text-guidance", type=float, default=Guidance.text)
    parser.add_argument("--image-guidance", type=float, default=Guidance.image)
    parser.add_argument("--steps", type=int, default=Guidance.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    parser.add_argument("--json", type=Path, default=None, help="file for the figures")
    parser.add_argument("--sheet", type=Path, default=None, help="picture of the first 48 answers")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    asked = held_out(chosen.pairs, chosen.part)
    guidance = Guidance(chosen.text_guidance, chosen.image_guidance, chosen.steps)
    pictures = answers(load_parts(chosen.model, chosen.device), asked, guidance, chosen.seed)
    found = shares(asked, [followed(pair, one) for (pair, _), one in zip(asked, pictures, strict=True)])
    sys.stdout.write("  ".join(f"{key} {value:.3f}" for key, value in found.items()) + "\n")
    if chosen.json is not None:
        setting = {"pairs": chosen.pairs, "part": chosen.part, "seed": chosen.seed, **vars(guidance)}
        chosen.json.write_text(json.dumps({"followed": found, "settings": setting}, indent=2) + "\n")
    if chosen.sheet is not None:
        Image.fromarray(sheet(asked[:48], pictures[:48])).save(chosen.sheet)


if __name__ == "__main__":
    main()

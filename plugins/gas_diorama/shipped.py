"""`python -m gas_diorama.shipped`: writes the pictures in `scenes/`, each with a request and the exact region of each
change."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gas_diorama import folders
from gas_diorama.world.drawing import regions, render
from gas_diorama.world.language import caption, name, request
from gas_diorama.world.scene import Edit, Scene, Thing

FOLDER = folders.SCENES


@dataclass(frozen=True)
class Shipped:
    """A picture that comes with the package, and a request for it."""

    name: str
    scene: Scene
    edits: tuple[Edit, ...]


def _into(thing: Thing, colour: str, kind: str) -> Edit:
    return Edit("change", "thing", thing, replace(thing, colour=colour, kind=kind))


def shipped() -> tuple[Shipped, ...]:
    """The pictures: the demo, one kind in two colours, a small thing, three things, one to add to."""
    car, balloon = Thing("car", "red", 42, 114, 60), Thing("balloon", "purple", 98, 94, 54)
    red, blue = Thing("car", "red", 34, 104, 48), Thing("car", "blue", 92, 116, 52)
    house, ball = Thing("house", "white", 44, 106, 58), Thing("ball", "yellow", 104, 114, 24)
    snowman, tent, igloo = (
        Thing("snowman", "white", 22, 112, 42),
        Thing("tent", "yellow", 66, 118, 44),
        Thing("igloo", "blue", 104, 96, 40),
    )
    tree = Thing("tree", "green", 40, 110, 58)
    return (
        Shipped(
            "demo",
            Scene("clear", "grass", 68, (car, balloon), 1),
            (
                _into(car, "blue", "house"),
                Edit("change", "ground", "grass", "snow"),
                Edit("change", "sky", "clear", "sunset"),
            ),
        ),
        Shipped("two-cars", Scene("sunset", "sand", 62, (red, blue), 2), (_into(red, "green", "tree"),)),
        Shipped("small-ball", Scene("night", "snow", 66, (house, ball), 3), (_into(ball, "purple", "ball"),)),
        Shipped(
            "camp",
            Scene("clear", "water", 60, (snowman, tent, igloo), 4),
            (
                _into(snowman, "red", "balloon"),
                Edit("change", "ground", "water", "sand"),
                Edit("remove", "thing", igloo, None),
            ),
        ),
        Shipped(
            "lone-tree",
            Scene("sunset", "grass", 64, (tree,), 5),
            (Edit("add", "thing", None, Thing("ball", "red", 96, 112, 44)), Edit("change", "sky", "sunset", "night")),
        ),
    )


def slug(edit: Edit) -> str:
    """Name of an edit's mask file: its source in small letters and dashes, its target's when it adds something."""
    words = name(edit.source if edit.source is not None else edit.target)  # type: ignore[arg-type]
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def write(folder: Path = FOLDER) -> None:
    """Writes NAME.png, NAME-masks/SLUG.png (8-bit, 255 = edit here) and scenes.json (captions and requests) into
    `folder`."""
    listing = {}
    for one in shipped():
        masks = folder / f"{one.name}-masks"
        masks.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(one.scene)).save(folder / f"{one.name}.png", optimize=True)
        for edit, region in zip(one.edits, regions(one.scene, one.edits), strict=True):
            Image.fromarray((region * 255).astype(np.uint8)).save(masks / f"{slug(edit)}.png", optimize=True)
        listing[one.name] = {"caption": caption(one.scene), "request": request(one.edits)}
    (folder / "scenes.json").write_text(json.dumps(listing, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Writes the shipped pictures again."""
    parser = argparse.ArgumentParser(prog="python -m gas_diorama.shipped", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    write(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()

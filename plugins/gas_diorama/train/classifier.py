"""A small classifier of diorama pictures, trained apart from what it judges: which ground, which sky, which things."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from gas_diorama.train.training import fit, load_checkpoint
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.networks import cpu_generator, round_trip, to_tensor
from gas_diorama.world.scene import COLOURS, GROUNDS, KINDS, SKIES, Scene


@dataclass(frozen=True)
class ClassifierSettings:
    """Schedule of the classifier's training."""

    steps: int = 2500
    batch: int = 32
    peak: float = 2e-3
    warm_up: int = 100
    decay: float = 0.01
    average: float = 0.99
    save_every: int = 1000
    scenes: int = 12000
    round_trips: int = 3000
    calibration: int = 400
    seed: int = 100


class Classifier(nn.Module):
    """Says of pictures in [-1, 1], (n, 3, 128, 128) on any device: logits of ground (n, 4), sky (n, 3), and for each
    colour and kind whether such a thing is there (n, 6, 8)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(a, b, 5 if i == 0 else 3, 2, 2 if i == 0 else 1), nn.GroupNorm(8, b), nn.SiLU()]
            layers += [nn.Conv2d(b, b, 3, 1, 1), nn.GroupNorm(8, b), nn.SiLU()] if i else []
        layers += [nn.Conv2d(128, 192, 3, 1, 1), nn.GroupNorm(8, 192), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.things = nn.Conv2d(192, len(COLOURS) * len(KINDS), 1)
        self.ground, self.sky = nn.Linear(192, len(GROUNDS)), nn.Linear(192, len(SKIES))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of ground, sky and things; a thing's is the largest of its 8x8 map."""
        features = self.body(x.to(self.things.weight.device))
        things = self.things(features).amax(dim=(2, 3)).unflatten(1, (len(COLOURS), len(KINDS)))
        return self.ground(features[:, :, -3:].mean(dim=(2, 3))), self.sky(features[:, :, :3].mean(dim=(2, 3))), things


def truth(scenes: list[Scene]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the classifier should say: ground (n,), sky (n,), things (n, 6, 8) of zeros and ones."""
    things = torch.zeros(len(scenes), len(COLOURS), len(KINDS))
    for row, scene in enumerate(scenes):
        for thing in scene.objects:
            things[row, COLOURS.index(thing.colour), KINDS.index(thing.kind)] = 1
    grounds = torch.tensor([GROUNDS.index(scene.ground) for scene in scenes])
    return grounds, torch.tensor([SKIES.index(scene.sky) for scene in scenes]), things


def spoilt(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The pictures with a little blur, noise and change of brightness, so that the classifier looks at shapes and
    colours."""
    n = len(x)
    blurred = nn.functional.avg_pool2d(nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(n, 1, 1, 1, generator=generator)
    noise = torch.randn(x.shape, generator=generator) * 0.08 * torch.rand(n, 1, 1, 1, generator=generator)
    light = 0.06 * torch.randn(n, 3, 1, 1, generator=generator)
    return x + share * (blurred - x) + noise + light


@torch.no_grad()
def calibrate(classifier: Classifier, vae: AutoencoderKL, count: int) -> float:
    """The shift, folded into the classifier, after which it misses as many things as it invents in VAE round trips of
    `count` validation scenes."""
    bank = SceneBank(count, seed=2, part="validation")
    trips = to_tensor(round_trip(vae, bank.pictures(np.arange(count))))
    things = torch.cat([classifier(part)[2].cpu() for part in trips.split(32)])
    wanted = truth([bank.scene(n) for n in range(count)])[2] > 0
    ranked = things.flatten().sort(descending=True).values
    shift = ranked[wanted.sum() - 1 : wanted.sum() + 1].mean()
    bias = classifier.things.bias
    assert bias is not None
    bias -= shift
    return shift.item()


def train_classifier(
    out: Path, vae: AutoencoderKL, settings: ClassifierSettings, until: float | None = None
) -> Classifier:
    """The trained classifier, on the device of `vae`; goes on from `out`/classifier.pt when that is there. It sees
    renderings and VAE round trips of training scenes only. `until` is as `fit` takes it."""
    torch.manual_seed(settings.seed)
    network = Classifier().to(vae.device)
    state = load_checkpoint(out / "classifier.pt")
    if state is not None and (state["step"] >= settings.steps or until is not None):
        network.load_state_dict(state["average"])
    else:
        network.load_state_dict(_fitted(out, network.train(), vae, settings, until))
    calibrate(network.eval(), vae, settings.calibration)
    return network


def _fitted(
    out: Path, network: Classifier, vae: AutoencoderKL, settings: ClassifierSettings, until: float | None
) -> dict[str, torch.Tensor]:
    bank = SceneBank(settings.scenes, settings.seed)
    trips = round_trip(vae, bank.pictures(np.arange(settings.round_trips)))

    def loss_at(step: int) -> torch.Tensor:
        rng = np.random.default_rng((settings.seed, 3, step))
        numbers = rng.integers(0, settings.scenes, settings.batch)
        numbers[: settings.batch // 4] = rng.integers(0, settings.round_trips, settings.batch // 4)
        pictures = bank.pictures(numbers)
        pictures[: settings.batch // 4] = trips[numbers[: settings.batch // 4]]
        grounds, skies, things = (part.to(vae.device) for part in truth([bank.scene(int(n)) for n in numbers]))
        with torch.autocast(vae.device.type, dtype=torch.bfloat16):
            ground, sky, thing = network(spoilt(to_tensor(pictures), cpu_generator(settings.seed, step)))
        loss = nn.functional.cross_entropy(ground.float(), grounds) + nn.functional.cross_entropy(sky.float(), skies)
        return 0.2 * loss + 10 * nn.functional.binary_cross_entropy_with_logits(thing.float(), things)

    return fit(out / "classifier.pt", network, settings, loss_at, until=until)


@torch.no_grad()
def judge(classifier: Classifier, pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
    """Shares in [0, 1] of what is right in uint8 pictures (n, 128, 128, 3) that should show `scenes`.

    ground, sky: of pictures; kind, colour: of asked things whose kind (colour) is seen on some thing; thing: of asked
    things seen with both; invented: things seen that were not asked for, for each asked thing.
    """
    said = [
        [one.cpu() for one in classifier(to_tensor(part))]
        for part in np.array_split(pictures, max(len(pictures) // 32, 1))
    ]
    ground, sky, things = (torch.cat(parts) for parts in zip(*said, strict=True))
    grounds, skies, wanted = truth(scenes)
    seen, asked = things > 0, wanted > 0
    count = asked.sum().item()
    kind = (seen.any(1) & asked.any(1)).sum() / asked.any(1).sum()
    colour = (seen.any(2) & asked.any(2)).sum() / asked.any(2).sum()
    return {
        "ground": (ground.argmax(1) == grounds).float().mean().item(),
        "sky": (sky.argmax(1) == skies).float().mean().item(),
        "kind": kind.item(),
        "colour": colour.item(),
        "thing": (seen & asked).sum().item() / count,
        "invented": (seen & ~asked).sum().item() / count,
    }

"""What a text-to-image model attends to when it is told an instruction, beside the instruction model's own attention
(ZONE, fig. 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gas.diffusion.attention.maps import collect_attention
from gas.diffusion.attention.sites import sites_near
from gas.diffusion.clip_text import ClipText
from gas.diffusion.load import load_backbone
from gas.diffusion.predictor import Predictor

if TYPE_CHECKING:
    from gas.types import Image
    from gas_editors.instruction.zone import ZONEEditor

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the schedule: the picture is not made anew by this model, so it is looked at under some noise."""


@torch.no_grad()
def text_attention(editor: ZONEEditor, name: str, image: Image, prompt: str, seed: int) -> tuple[ClipText, Tensor]:
    """The text encoder of the text-to-image model called `name`, and its attention `(tokens, h, w)` to each token of
    `prompt`."""
    options = editor.options
    model = load_backbone(name, editor.runtime, variant=options.variant, allow_pickle=options.allow_pickle)
    words, sites = model.need_words("a map of attention"), model.need_sites("cross", "a map of attention")
    z = model.encode(image)
    size = z.shape[2], z.shape[3]
    side = math.sqrt(size[0] * size[1]) * model.factor / options.map_scale
    predictor = Predictor(model, size)
    told = predictor.condition([prompt])
    generator = torch.Generator().manual_seed(seed)
    near = sites_near(sites, size, side, min(options.least_cells, *size))
    with collect_attention(near, size, tokens=words.positions(prompt)) as maps:
        for share in SHARES:
            t = predictor.schedule.share(share)
            eps = torch.randn(z.shape, generator=generator).to(z)
            predictor.predict(predictor.schedule.add_noise(z, eps, t), t, told)
    return words, maps.mean()[0]

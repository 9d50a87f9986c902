"""What a text-to-image model attends to when it is told an instruction, beside the instruction model's own attention
(ZONE, fig. 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gas.diffusion.attention.control import attention_layers, collect_attention, layers_near
from gas.diffusion.instruct import text_positions
from gas.diffusion.stable_diffusion import StableDiffusion

if TYPE_CHECKING:
    from gas.types import Image
    from gas_editors.instruction.zone import ZONEEditor

TIMES = (100, 300, 500, 700, 900)
"""In thousandths of the schedule: the picture is not made anew by this model, so it is looked at under some noise."""


@torch.no_grad()
def text_attention(
    editor: ZONEEditor, name: str, image: Image, prompt: str, seed: int
) -> tuple[StableDiffusion, Tensor]:
    """The text-to-image model called `name`, and its attention `(tokens, h, w)` to each token of `prompt`."""
    options = editor.options
    model = StableDiffusion.load(name, editor.runtime, variant=options.variant, allow_pickle=options.allow_pickle)
    z = model.encode(image)
    size = z.shape[2], z.shape[3]
    side = math.sqrt(size[0] * size[1]) * model.factor / options.map_scale
    layers = layers_near(attention_layers(model.network, "cross"), size, side, min(options.least_cells, *size))
    embedding = model.embed([prompt])
    generator = torch.Generator().manual_seed(seed)
    with collect_attention(model.network, layers, size, tokens=text_positions(model, prompt)) as maps:
        for time in TIMES:
            t = torch.tensor([time * len(model.schedule) // 1000]).to(z.device)
            eps = torch.randn(z.shape, generator=generator).to(z)
            model.predict(model.schedule.add_noise(z, eps, t), t, embedding)
    return model, maps.mean()[0]

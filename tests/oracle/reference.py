"""What the reference code of DDS, CDS and Ground-A-Score does, step by step, in fp32 and with all random numbers given.

Read in google/prompt-to-prompt `DDS_zeroshot.ipynb`; HyelinNAM/ContrastiveDenoisingScore `pipeline_cds.py`,
`utils/loss.py`, `utils/attention.py`; Ground-A-Score/Ground-A-Score `groundascore/groundascore.py`,
`groundascore/loss.py`. Retold, not copied.

Common to the three: latents `(1, 4, 64, 64)`, plain gradient descent with learning rate 0.1 on a loss whose gradient is
2000 / 4096 times the difference of two guided noise predictions. `draws` is an iterator of (t, eps); `pick(count)`
returns the numbers of the patches that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F

Draws = Iterator[tuple[int, Tensor]]
Pick = Callable[[int], Tensor]

GUIDANCE = 7.5
LEARNING_RATE = 0.1
FACTOR = 2000


def every(count: int) -> Tensor:
    """All patches."""
    return torch.arange(count)


class Remembering:
    """An attention processor that keeps its module's output, before the residual is added, as `module.remembered`."""

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: object
    ):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        rows, heads = hidden_states.shape[0], attn.heads
        query, key, value = (
            projection(inputs).view(rows, inputs.shape[1], heads, -1).transpose(1, 2)
            for projection, inputs in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        attn.remembered = attn.to_out[1](attn.to_out[0](mixed))
        return attn.remembered


def self_attentions_of_up_blocks(unet: UNet2DConditionModel) -> list[Attention]:
    """The modules whose outputs are compared, in the network's order."""
    return [
        module
        for name, module in unet.named_modules()
        if type(module).__name__ == "Attention" and "attn1" in name and "up" in name
    ]


def noisy(z: Tensor, eps: Tensor, t: int, alphas_cumprod: Tensor) -> Tensor:
    return alphas_cumprod[t].sqrt() * z + (1 - alphas_cumprod[t]).sqrt() * eps


def four_rows(
    unet: UNet2DConditionModel, zs_t: Tensor, zt_t: Tensor, t: int, null: Tensor, source: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions for: source latent, null; edited latent, null; source latent, source; edited latent, target."""
    latents = torch.cat([zs_t, zt_t, zs_t, zt_t])
    out = unet(latents, torch.tensor([t] * 4), torch.cat([null, null, source, target])).sample
    null_source, null_target, cond_source, cond_target = out.split(1)
    return null_source, null_target, cond_source, cond_target


def guided(null: Tensor, cond: Tensor) -> Tensor:
    return null + GUIDANCE * (cond - null)


def contrastive(reference: Tensor, current: Tensor, pick: Pick, sizes: Sequence[int] = (1, 2)) -> Tensor:
    """The loss between feature maps `(1, rows, columns, channels)`: each reference patch against all current ones."""
    total = torch.zeros(())
    for size in sizes:
        pooled = []
        for features in (reference.detach(), current):
            picture = features.permute(0, 3, 1, 2)
            rows, columns = picture.shape[2:]
            if size > 1 and (rows > 1 or columns > 1):
                picture = F.avg_pool2d(picture, (size if rows > 1 else 1, size if columns > 1 else 1))
            unit = picture / picture.norm(dim=1, keepdim=True).clamp(min=1e-12)
            pooled.append(unit[0].flatten(1).T)
        chosen = pick(len(pooled[0]))
        anchors, candidates = pooled[0][chosen], pooled[1][chosen]
        positive = (anchors * candidates).sum(1, keepdim=True)
        negatives = anchors @ candidates.T
        negatives = negatives.masked_fill(torch.eye(len(chosen), dtype=torch.bool), -10.0)
        logits = torch.cat([positive, negatives], dim=1) / 0.07
        total = total + F.cross_entropy(logits, torch.zeros(len(chosen), dtype=torch.long))
    return total


def dds(
    unet: UNet2DConditionModel,
    alphas_cumprod: Tensor,
    z_source: Tensor,
    prompts: tuple[Tensor, Tensor, Tensor],
    draws: Draws,
    steps: int,
) -> Tensor:
    """The edited latent. `prompts` are the embeddings of "", source and target, each `(1, tokens, width)`."""
    null, source, target = prompts
    z = z_source.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=LEARNING_RATE)
    for _ in range(steps):
        t, eps = next(draws)
        with torch.no_grad():
            zs_t, zt_t = noisy(z_source, eps, t, alphas_cumprod), noisy(z, eps, t, alphas_cumprod)
            ns, nt, cs, ct = four_rows(unet, zs_t, zt_t, t, null, source, target)
            difference = guided(nt, ct) - guided(ns, cs)
        loss = (z * difference).sum() / (z.shape[2] * z.shape[3])
        optimizer.zero_grad()
        (FACTOR * loss).backward()
        optimizer.step()
    return z.detach()


def sds(
    unet: UNet2DConditionModel,
    alphas_cumprod: Tensor,
    z_source: Tensor,
    prompts: tuple[Tensor, Tensor],
    draws: Draws,
    steps: int,
) -> Tensor:
    """The edited latent of the baseline in the same notebook. `prompts` are the embeddings of "" and of the target."""
    null, target = prompts
    z = z_source.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=LEARNING_RATE)
    for _ in range(steps):
        t, eps = next(draws)
        with torch.no_grad():
            z_t = noisy(z, eps, t, alphas_cumprod)
            n, c = unet(torch.cat([z_t, z_t]), torch.tensor([t, t]), torch.cat([null, target])).sample.split(1)
            difference = guided(n, c) - eps
        loss = (z * difference).sum() / (z.shape[2] * z.shape[3])
        optimizer.zero_grad()
        (FACTOR * loss).backward()
        optimizer.step()
    return z.detach()


def cds(
    unet: UNet2DConditionModel,
    alphas_cumprod: Tensor,
    z_source: Tensor,
    prompts: tuple[Tensor, Tensor, Tensor],
    draws: Draws,
    steps: int,
    pick: Pick = every,
    weight: float = 3.0,
) -> Tensor:
    """The edited latent. The source's features are row 2 of the four; the edited latent's are row 1 of a second forward
    pass over [null, target]. The contrastive loss does not get the factor 2000 / 4096."""
    null, source, target = prompts
    unet.set_attn_processor(Remembering())
    compared = self_attentions_of_up_blocks(unet)
    z = z_source.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=LEARNING_RATE)
    for _ in range(steps):
        t, eps = next(draws)
        optimizer.zero_grad()
        with torch.no_grad():
            zs_t, zt_t = noisy(z_source, eps, t, alphas_cumprod), noisy(z, eps, t, alphas_cumprod)
            ns, nt, cs, ct = four_rows(unet, zs_t, zt_t, t, null, source, target)
            difference = guided(nt, ct) - guided(ns, cs)
            references = [module.remembered[2:3] for module in compared]
        loss = (z * difference).sum() / (z.shape[2] * z.shape[3])
        (FACTOR * loss).backward()

        z_t = noisy(z, eps, t, alphas_cumprod)
        unet(torch.cat([z_t, z_t]), torch.tensor([t, t]), torch.cat([null, target]))
        cut = torch.zeros(())
        for module, reference in zip(compared, references, strict=True):
            current = module.remembered[1:2]
            side = int(current.shape[1] ** 0.5)
            cut = cut + contrastive(reference.view(1, side, side, -1), current.view(1, side, side, -1), pick)
        (weight * cut).backward()
        optimizer.step()
    return z.detach()


def box_masks(
    boxes: Sequence[tuple[float, float, float, float]], shape: torch.Size
) -> tuple[list[list[int]], list[Tensor]]:
    """Rounded boxes and masks of the subtasks and, last, of the whole picture.

    `boxes` are those of the subtasks, in shares of the picture. Where a smaller box lies over a larger one, the larger
    one's mask is set to 0.3. The whole picture's mask is 1 wherever any mask is not 0.
    """
    h, w = shape[2:]
    cells = [[round(x0 * w), round(y0 * h), round(x1 * w), round(y1 * h)] for x0, y0, x1, y1 in boxes] + [[0, 0, w, h]]
    masks = []
    for mine in cells[:-1]:
        mask = torch.zeros(shape)
        mask[:, :, mine[1] : mine[3], mine[0] : mine[2]] = 1
        for other in cells:
            if other in (mine, [0, 0, 64, 64]):
                continue
            x0, y0 = max(mine[0], other[0]), max(mine[1], other[1])
            x1, y1 = min(mine[2], other[2]), min(mine[3], other[3])
            common = max(0, x1 - x0) * max(0, y1 - y0)
            if common and common / area(other) > common / area(mine):
                mask[:, :, y0:y1, x0:x1] = 0.3
        masks.append(mask)
    masks.append(torch.stack(masks).any(dim=0) if masks else torch.ones(shape))
    return cells, masks


def area(cells: Sequence[int]) -> int:
    return (cells[2] - cells[0]) * (cells[3] - cells[1])


def ground_a_score(
    unet: UNet2DConditionModel,
    alphas_cumprod: Tensor,
    z_source: Tensor,
    null: Tensor,
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    boxes: Sequence[tuple[float, float, float, float]],
    keeps_shape: Sequence[bool],
    draws: Draws,
    steps: int,
    pick: Pick = every,
    betas: Sequence[float] = (0.5, 0.4, 0.3, 0.2, 0.1),
) -> Tensor:
    """The edited latent. `sources`, `targets` and `keeps_shape` have one entry more than `boxes`: the whole picture's.

    Each subtask, and then the whole picture, makes a step of its own, with its own t and eps, on the latent as it is by
    then.
    """
    unet.set_attn_processor(Remembering())
    compared = self_attentions_of_up_blocks(unet)
    cells, masks = box_masks(boxes, z_source.shape)
    penalised = [(y1 - y0) * (x1 - x0) < 0.15 for x0, y0, x1, y1 in boxes] + [False]
    z = z_source.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=LEARNING_RATE)
    for _ in range(steps):
        for k, (source, target) in enumerate(zip(sources, targets, strict=True)):
            t, eps = next(draws)
            mask = masks[k]
            with torch.no_grad():
                zs_t, zt_t = noisy(z_source, eps, t, alphas_cumprod), noisy(z, eps, t, alphas_cumprod)
                ns, nt, cs, ct = four_rows(unet, zs_t, zt_t, t, null, source, target)
                difference = guided(nt, ct) - guided(ns, cs)
                if penalised[k]:
                    difference = difference * ((5 * (nt - ct)).abs() * mask).mean().clamp(0, 1)
                references = [module.remembered[2:3] for module in compared]
            loss = (z * difference * mask).sum() / (z.shape[2] * z.shape[3])
            if k == len(masks) - 1:
                loss = loss * betas[t // 200]
            optimizer.zero_grad()
            (FACTOR * loss).backward()

            if keeps_shape[k]:
                unet(noisy(z, eps, t, alphas_cumprod), torch.tensor([t]), target)
                cut = torch.zeros(())
                for module, reference in zip(compared, references, strict=True):
                    current = module.remembered
                    side = int(current.shape[1] ** 0.5)
                    x0, y0, x1, y1 = (round(edge / {64: 1, 32: 2, 16: 4}[side]) for edge in cells[k])
                    rows, columns = slice(y0, y1 + (y0 == y1)), slice(x0, x1 + (x0 == x1))
                    cut = cut + contrastive(
                        reference.view(1, side, side, -1)[:, rows, columns],
                        current.view(1, side, side, -1)[:, rows, columns],
                        pick,
                    )
                z.grad += torch.autograd.grad(cut, z)[0] * mask
            optimizer.step()
    return z.detach()

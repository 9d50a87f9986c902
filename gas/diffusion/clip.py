"""A frozen CLIP (Radford et al. 2021, arXiv 2103.00020): what a picture and a text have in common, as a number that a
picture can be optimised for, and as plain scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas import notes
from gas.diffusion.loading import explained, load_part
from gas.errors import InputRefused, ModelUnavailable
from gas.models.account import load_tokenizer
from gas.models.hub import require_snapshot
from gas.models.manifest import resolve_model

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image, Mask

_RESAMPLED = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, which CLIP's settings are written in
GREY = 0.5


@dataclass(frozen=True)
class Clip:
    """A CLIP whose parameters are frozen, in fp32: gradients go through it to pictures.

    `pixels` are `(n, 3, H, W)` in [0, 1]. Their place before normalisation may be taken by anything that torch can
    differentiate. Embeddings have length 1, so a product of two is their cosine similarity.
    """

    network: Any  # transformers.CLIPModel
    tokenizer: Any  # transformers.CLIPTokenizer
    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor  # (1, 3, 1, 1)
    resampling: str

    @classmethod
    def load(cls, model: str, runtime: Runtime, *, allow_pickle: bool = False) -> Clip:
        """The model that `resolve_model` understands, shared in `runtime`; a hub id must be in its cache.

        Weights are safetensors; `.bin` files are read (tensors only) with `allow_pickle`. ModelUnavailable (exit 6):
        missing, not in the cache, or not a CLIP.
        """
        device = runtime.torch_device()

        def load() -> Clip:
            source = resolve_model(model)
            folder = Path(source.location) if source.local else require_snapshot(source)
            return cls.from_folder(folder, device, name=model, allow_pickle=allow_pickle)

        return runtime.shared(("clip", model, allow_pickle, str(device)), load)

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        *,
        name: str | None = None,
        allow_pickle: bool = False,
    ) -> Clip:
        """The CLIP in a local folder as transformers saves it. `name` is what errors call it; the rest as in `load`."""
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        folder, name = Path(folder), name or str(folder)
        _check_layout(folder, name, ("config.json",))
        with explained(name):
            kind = CLIPConfig.get_config_dict(str(folder), local_files_only=True)[0].get("model_type")
        if kind != "clip":
            raise ModelUnavailable(
                f"{name} is of the kind {kind!r}, not 'clip'", "name a CLIP, such as openai/clip-vit-large-patch14"
            )
        _check_layout(folder, name, ("tokenizer.json", "vocab.json"))
        _check_layout(folder, name, ("preprocessor_config.json", "processor_config.json"))
        with explained(name):
            network: Any = load_part(
                CLIPModel,
                folder,
                ("model", "pytorch_model"),
                name,
                dtype=torch.float32,
                allow_pickle=allow_pickle,
                remedy="name a model that was saved as CLIPModel, with both its halves",
                attn_implementation="eager",  # the only one that tells its attention, which `relevance` is made of
            )
            tokenizer = load_tokenizer(CLIPTokenizer, folder, name, network.text_model)
            settings = CLIPImageProcessorPil.from_pretrained(str(folder), local_files_only=True)
        return cls(
            network.to(device).eval().requires_grad_(False),
            tokenizer,
            torch.tensor(settings.image_mean, device=device).view(1, 3, 1, 1),
            torch.tensor(settings.image_std, device=device).view(1, 3, 1, 1),
            _RESAMPLED.get(int(settings.resample), "bicubic"),
        )

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def side(self) -> int:
        """Side in pixels of the square pictures that it was trained on (224)."""
        return int(self.network.config.vision_config.image_size)

    @property
    def patch(self) -> int:
        """Side in pixels of the squares that become its tokens (32, 16 or 14)."""
        return int(self.network.config.vision_config.patch_size)

    @property
    def max_tokens(self) -> int:
        """How many tokens the text encoder sees, its two marks included (77)."""
        return min(self.tokenizer.model_max_length, self.network.config.text_config.max_position_embeddings)

    # --- texts --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """`(n, dim)`: the texts' embeddings. Warns of words that do not fit into its tokens."""
        for text in texts:
            length = len(self.tokenizer(text, verbose=False).input_ids)
            if length > self.max_tokens:
                notes.warn(
                    f"the text {text[:60]!r} has {length} tokens; CLIP sees the first {self.max_tokens}", stacklevel=2
                )
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.device)
        found = self.network.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return F.normalize(found.pooler_output, dim=-1)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def square(self, pixels: Tensor) -> Tensor:
        """`(n, 3, side, side)`: the pictures as CLIP's own preprocessing makes them: the shorter side made `side` long,
        the middle cut out."""
        height, width = pixels.shape[2:]
        scale = self.side / min(height, width)
        size = (max(self.side, int(height * scale)), max(self.side, int(width * scale)))
        pixels = self.resize(pixels, size)
        top, left = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        return pixels[:, :, top : top + self.side, left : left + self.side]

    def whole(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)`: the whole pictures at about their own aspect ratio, the shorter side `side` long, both whole
        numbers of patches, the longer one at most 1.7 times the shorter (Text2LIVE's code: 380 of 224)."""
        return self.resize(pixels, self.whole_size(pixels.shape[2], pixels.shape[3]))

    def whole_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of `whole` for pictures of that size."""
        longer = self.side * min(1.7, max(height, width) / min(height, width))
        cells = max(self.side // self.patch, round(longer / self.patch))
        longer = cells * self.patch
        return (self.side, longer) if width >= height else (longer, self.side)

    def resize(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """The pictures at `size` (h, w), without aliasing, still in [0, 1]; those of that size as they are."""
        if tuple(pixels.shape[2:]) == size:
            return pixels
        return F.interpolate(pixels, size, mode=self.resampling, align_corners=False, antialias=True).clamp(0, 1)

    def images(self, pixels: Tensor) -> Tensor:
        """`(n, dim)`: embeddings of pictures of a size that `square` or `whole` gives."""
        return F.normalize(self.network.get_image_features(**self._inputs(pixels)).pooler_output, dim=-1)

    def self_similarity(self, pixels: Tensor) -> Tensor:
        """`(n, tokens, tokens)`: cosine similarities between the tokens, the class token first, that go into the last
        layer (Text2LIVE's code, `calculate_self_sim`): which parts of a picture look alike, whatever they look like."""
        layers = len(self.network.vision_model.encoder.layers)
        found = self.network.vision_model(**self._inputs(pixels), output_hidden_states=True)
        tokens = F.normalize(found.hidden_states[layers - 1], dim=-1)
        return tokens @ tokens.transpose(1, 2)

    def relevance(self, pixels: Tensor, text: Tensor, layers: int = 1) -> Tensor:
        """`(n, 1, H, W)` in [0, 1]: how much each place of the pictures speaks for the text of the embedding `(dim,)`.

        Attention of the last `layers` layers times its gradient, positive parts, mean over heads, multiplied through
        the layers; the class token's row, enlarged and scaled from its least to its most (Chefer et al. 2021, arXiv
        2103.15679, eq. 5 and 6). Zeros where a map is flat.
        """
        with torch.enable_grad():
            pixels = pixels.detach().requires_grad_(True)
            found = self.network.get_image_features(**self._inputs(pixels), output_attentions=True)
            score = (F.normalize(found.pooler_output, dim=-1) @ text).sum() * self.network.logit_scale.exp()
            used = list(found.attentions)[-layers:]
            gradients = torch.autograd.grad(score, used)
        relevance = torch.eye(used[0].shape[-1], device=self.device)[None]
        for attention, gradient in zip(used, gradients, strict=True):
            relevance = relevance + (attention * gradient).clamp(min=0).mean(1).detach() @ relevance
        height, width = pixels.shape[2] // self.patch, pixels.shape[3] // self.patch
        cells = relevance[:, 0, 1:].unflatten(1, (height, width))[:, None]
        large = F.interpolate(cells, pixels.shape[2:], mode="bilinear", align_corners=False)
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        return torch.where(high > low, (large - low) / (high - low).clamp(min=1e-12), torch.zeros_like(large))

    def _inputs(self, pixels: Tensor) -> dict[str, Any]:
        square = pixels.shape[2] == pixels.shape[3] == self.side
        return {"pixel_values": (pixels - self.mean) / self.std, "interpolate_pos_encoding": not square}

    # --- scores -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def embed(self, image: Image) -> Tensor:
        """`(dim,)`: the embedding of a picture `(H, W, 3)` uint8."""
        return self.images(self.square(to_pixels(image, self.device)))[0]

    def clip_i(self, image: Image, other: Image) -> float:
        """CLIP-I: cosine similarity of two pictures, each `(H, W, 3)` uint8 of any size."""
        return float(self.embed(image) @ self.embed(other))

    def clip_t(self, image: Image, text: str) -> float:
        """CLIP-T: cosine similarity of a picture `(H, W, 3)` uint8 and a text."""
        return float(self.embed(image) @ self.texts([text])[0])

    def masked_clip_t(self, image: Image, mask: Mask, text: str, *, crop: bool = True) -> float:
        """Masked CLIP: CLIP-T of the part of a picture that `mask` `(H, W)` covers.

        `crop` cuts out the square around the mask (`square_around`), with what is around the thing in it; without, the
        whole picture is taken with grey where the mask is 0. Ground-A-Score does not say which it did. InputRefused
        (exit 3) for an empty mask.
        """
        return self.clip_t(masked_part(image, mask, crop=crop), text)


def _check_layout(folder: Path, name: str, files: tuple[str, ...]) -> None:
    """ModelUnavailable unless one of `files` is there. Without a vocabulary, for one, transformers would make a
    tokenizer that knows no word."""
    if not any((folder / file).is_file() for file in files):
        raise ModelUnavailable(
            f"{name} is not a CLIP: no {' or '.join(files)} in it",
            "name a folder or hub id that holds a CLIPModel with its tokenizer and image processor",
        )


def to_pixels(image: Image, device: torch.device | str = "cpu") -> Tensor:
    """`(1, 3, H, W)` in [0, 1] of a picture `(H, W, 3)` uint8."""
    return torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None].float() / 255


def masked_part(image: Image, mask: Mask, *, crop: bool = True) -> Image:
    """What `Clip.masked_clip_t` looks at, `(h, w, 3)` uint8."""
    if crop:
        x0, y0, x1, y1 = square_around(mask)
        return image[y0:y1, x0:x1]
    if not (mask > 0).any():
        raise _empty()
    share = mask[..., None]
    return np.rint(share * image + (1 - share) * (255 * GREY)).astype(np.uint8)


def square_around(mask: Mask) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) in pixels, x1 and y1 exclusive: the square around a mask's box, moved into the picture; where
    the picture is narrower than that, as much as there is. InputRefused (exit 3) for an empty mask."""
    rows, columns = np.flatnonzero((mask > 0).any(1)), np.flatnonzero((mask > 0).any(0))
    if not len(rows):
        raise _empty()
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    (y0, y1), (x0, x1) = _span(rows, side, mask.shape[0]), _span(columns, side, mask.shape[1])
    return x0, y0, x1, y1


def _span(taken: np.ndarray, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    start = min(max(0, int(taken[0] + taken[-1] + 1 - side) // 2), length - side)
    return start, start + side


def _empty() -> InputRefused:
    return InputRefused("the mask is empty: there is no part to score", "give a mask that covers something")

"""Networks with weights of fewer bits: those in a GGUF file, and int8 that torchao makes when a model is loaded.

Both packages are the extra `quantised`, and are imported when somebody asks for them only.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gas.diffusion.loading import explained
from gas.errors import ModelUnavailable
from gas.process import check_loading
from gas.remedies import install

Quantised = Literal["int8"]
_DENOISERS = ("unet", "transformer")


def quantise(networks: Mapping[str, Any], name: str) -> None:
    """Gives the linear layers of the denoiser, and of T5 encoders, weights of 8 bits, each row with a factor of its own
    (torchao's `Int8WeightOnlyConfig`), in place. Gradients still go through to what the network is told.

    `networks` are those of the model `name`, by the names of their folders. ModelUnavailable (exit 6) without torchao.
    """
    _need("torchao", "int8 weights need")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for place, network in networks.items():
        if place in _DENOISERS or type(network).__name__.startswith("T5"):
            check_loading()
            with explained(name):
                quantize_(network, Int8WeightOnlyConfig())


def read_gguf_tensors(file: Path, name: str) -> dict[str, Tensor]:
    """The names in a GGUF file, each with an empty tensor of its shape on the device "meta". ModelUnavailable (exit 6)
    without gguf, and for a file that cannot be read."""
    _need("gguf", "GGUF files need")
    import gguf

    with explained(name):
        try:
            tensors = gguf.GGUFReader(str(file)).tensors
        except IndexError:  # beyond the end of the file
            raise ValueError("the file ends too early") from None
        return {
            str(one.name): torch.empty([int(side) for side in reversed(one.shape)], device="meta") for one in tensors
        }


def load_gguf(kind: Any, file: Path, settings: Mapping[str, Any], name: str, dtype: torch.dtype) -> Any:
    """The network of diffusers' class `kind` with the weights of a GGUF file, which stay as they are there and are
    brought to `dtype` layer by layer. Errors as `read_gguf_tensors`."""
    _need("gguf", "GGUF files need")
    from diffusers import GGUFQuantizationConfig

    check_loading()
    with explained(name), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(settings)), "utf-8")
        return kind.from_single_file(
            str(file),
            config=folder,
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            torch_dtype=dtype,
            local_files_only=True,
        )


def _need(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise ModelUnavailable(f"{what} the Python package {package}, which is missing", install("gas-edit[quantised]"))

"""What backends share: device and memory, the number format, loaded networks, and whether the network may be used."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gas.errors import UsageError
from gas.placement import MemorySetting, Placement, Rung, free_cached
from gas.process import check_loading, loading_models
from gas.remedies import USE_CPU

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
DType = Literal["auto", "fp32", "fp16", "bf16"]


@dataclass
class Runtime:
    """One per process or session. `device` is auto, cpu, mps, cuda or cuda:N; it is resolved when first asked for.

    `memory` says where networks are while they work: auto, all, offload or lowest (`gas.placement`).
    """

    device: str = "auto"
    dtype: DType = "auto"
    offline: bool = False
    memory: MemorySetting = "auto"
    _placement: Placement = field(init=False, repr=False)
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._placement = Placement(self.memory)

    def shared(self, key: Hashable, load: Callable[[], T]) -> T:
        """The object under `key`, loaded by `load()` the first time, by one thread at a time (`gas.process`).

        Interrupted (exit 130) when the user asks to stop meanwhile; what is loaded by then stays.
        Networks in here are frozen: change one only inside a context manager that restores it.
        """
        if key not in self._shared:
            with loading_models():
                if key not in self._shared:
                    self._shared[key] = load()
            check_loading()
        return self._shared[key]

    def forget(self, key: Hashable | None = None) -> None:
        """Drops what is shared under `key`, if anything is; without a key everything, so that memory can be freed."""
        if key is None:
            self._shared.clear()
        else:
            self._shared.pop(key, None)

    def place(self, parts: Any, name: str = "the model") -> Rung:
        """Puts a model that was loaded to the CPU where the setting `memory` wants it; returns the rung that was taken.

        `parts` is a whole pipeline of diffusers, or a mapping of names to frozen networks. It then works on
        `torch_device()` as it is: call it, and give it inputs there. `name` is what notes call the model. To be called
        once, in the function that `shared` is given, so that it is made again after memory was short (`climb_down`).
        torch's own error where memory is short: `gas.diffusion.memory.memory_named` names it.
        """
        return self._placement.place(parts, self.torch_device(), name)

    def choose_rung(self, sizes: Mapping[str, int], name: str = "the model") -> Rung:
        """The rung by which `place` would put networks of these `sizes`, in bytes by name, before they are loaded."""
        return self._placement.choose(sizes, self.torch_device(), name)

    def place_at(self, parts: Any, rung: Rung, name: str = "the model") -> None:
        """As `place`, by the `rung` that `choose_rung` has given."""
        self._placement.place(parts, self.torch_device(), name, rung)

    @property
    def rung(self) -> Rung | None:
        """The lowest rung by which anything was placed; None before that."""
        return self._placement.rung

    def climb_down(self) -> Rung | None:
        """After an allocation has failed: the next rung, by which everything is loaded anew. None where there is none.

        All that is shared is dropped; who holds a network of it must let it go, and ask again.
        """
        if self._placement.rung is None:
            return None
        device = self.torch_device()
        below = self._placement.climb_down(device)
        if below is not None:
            self.forget()
            free_cached(device)
        return below

    def torch_device(self) -> torch.device:
        """The device to work on; `auto` takes CUDA, then MPS, then the CPU. UsageError when it is not there."""
        import torch

        name = self.device
        if name == "auto":
            if torch.cuda.is_available():
                name = "cuda"
            elif torch.backends.mps.is_available():
                name = "mps"
            else:
                name = "cpu"
        try:
            device = torch.device(name)
        except RuntimeError:
            raise UsageError(f"unknown device {name!r}", "use auto, cpu, mps, cuda or cuda:N") from None
        if device.type not in {"cpu", "cuda", "mps"}:
            raise UsageError(f"unsupported device {name!r}", "use auto, cpu, mps, cuda or cuda:N")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise UsageError(
                f"device {name!r} is not there: {torch.cuda.device_count()} CUDA devices are visible",
                USE_CPU,
            )
        if device.type == "mps" and not torch.backends.mps.is_available():
            raise UsageError("device 'mps' is not there", USE_CPU)
        return device

    def torch_dtype(self) -> torch.dtype:
        """The number format of networks; latents, masks and losses stay fp32 whatever it is.

        `auto` is bf16 where the hardware multiplies it natively (CUDA from Ampere, CPUs with AVX512-BF16 or AMX), fp16
        on other GPUs, else fp32.
        """
        import torch

        names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        if self.dtype != "auto":
            if self.dtype not in names:
                raise UsageError(f"unknown dtype {self.dtype!r}", "use auto, bf16, fp16 or fp32")
            return names[self.dtype]
        device = self.torch_device()
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
        if device.type == "mps":
            return torch.float16
        # Without native support bf16 on a CPU is emulated and slower than fp32. torch has no public question for it.
        native_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        return torch.bfloat16 if native_bf16 else torch.float32

"""Where a model's networks are while they work: all on the device, or brought there when they are needed.

A rung says it: `all` keeps every network on the device; `offload` has one network there at a time, the one that works;
`lowest` one layer at a time, and pictures go through the VAE in tiles. Each costs less of the device's memory, and more
time, than the one before. diffusers' pipelines are placed by their own methods, other networks by hooks of accelerate.

Only a device with memory of its own gains from offloading. On a CPU, and on Apple's GPUs, which share the CPU's memory,
there is nothing to move: `lowest` puts the VAE in tiles there, and that is all.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gas import notes
from gas.memory import gigabytes, memory

if TYPE_CHECKING:
    import torch

Rung = Literal["all", "offload", "lowest"]
MemorySetting = Literal["auto", "all", "offload", "lowest"]
LADDER: tuple[Rung, ...] = ("all", "offload", "lowest")

ROOM = 3_000_000_000
"""Bytes that are kept free for what networks compute: ours, for a few rows of a picture of a megapixel."""

_HOW: dict[Rung, str] = {
    "all": "all networks on {device}",
    "offload": "one network at a time on {device}",
    "lowest": "one layer at a time on {device}, pictures in tiles; this is slow",
}


@dataclass
class Placement:
    """How one runtime places networks. `asked` is the setting; `rung` the lowest one that was taken so far, None before
    anything was placed or about to be."""

    asked: MemorySetting = "auto"
    rung: Rung | None = None
    _below: Rung = "all"  # what an allocation that failed has made of "auto" or of the setting
    _guests: dict[str, _Guests] = field(default_factory=dict, repr=False)

    def choose(self, sizes: Mapping[str, int], device: torch.device, name: str) -> Rung:
        """The rung for the networks of the model `name` with these `sizes`, in bytes by name.

        The setting decides; `auto` takes the first rung at which they fit into what is free on `device`, beside `ROOM`.
        Warns where that is not `all`, and where the setting asks for something that the device does not have.
        """
        moves = can_offload(device)
        if self.asked != "auto":
            rung = max(self.asked, self._below, key=LADDER.index)
            if not moves and self.asked == "offload":
                _say(f"memory: on {_named(device)} offload has nothing to move; {name} works as with all")
            elif not moves and self.asked == "lowest":
                _say(f"memory: on {_named(device)} lowest only has pictures in tiles; there is nothing to move")
        else:
            rung, free = self._below, free_memory(device)
            if moves and free is not None:
                fits = _fitting(sizes, free)
                if LADDER.index(fits) > LADDER.index(rung):
                    rung = fits
                    _say(
                        f"memory: {rung} was chosen, {_HOW[rung].format(device=device)}: {name} has networks of "
                        f"{gigabytes(sum(sizes.values()))}, and {gigabytes(free)} are free"
                    )
        return self._taken(rung if moves or rung == "lowest" else "all")

    def place(self, parts: Any, device: torch.device, name: str, rung: Rung | None = None) -> Rung:
        """The rung by which `parts` were placed for work on `device`: `rung`, or that of `choose`.

        `parts` is a pipeline of diffusers, or a mapping of names to networks, on the CPU or on `device` and frozen. To
        be called once for each, right after it was loaded. Errors of the device for memory that is short.
        """
        networks = networks_of(parts)
        if rung is None:
            rung = self.choose({one: size_of(network) for one, network in networks.items()}, device, name)
        self._taken(rung)
        if rung == "lowest":
            for one in networks.values():
                _in_tiles(one)
        if rung == "all" or not can_offload(device):
            for one in networks.values():
                one.to(device)
        else:
            whole = {place for place, one in networks.items() if _stays_whole(one)} if rung == "lowest" else set()
            if whole:
                _say(f"memory: {name}: {', '.join(sorted(whole))} cannot be moved layer by layer, and moves as a whole")
            if parts is not networks:
                by_layer = rung == "lowest" and not whole
                (parts.enable_sequential_cpu_offload if by_layer else parts.enable_model_cpu_offload)(device=device)
                return rung
            guests = self._guests.setdefault(str(device), _Guests(device))
            for place, one in networks.items():
                if rung == "offload" or place in whole:
                    guests.add(one)
                else:
                    layer_by_layer(one, device)
        return rung

    def _taken(self, rung: Rung) -> Rung:
        self.rung = rung if self.rung is None else max(rung, self.rung, key=LADDER.index)
        return rung

    def climb_down(self, device: torch.device) -> Rung | None:
        """The next rung, by which everything is placed from now on, after an allocation has failed.

        None where there is none below, or where nothing was placed. What was placed before must be loaded again.
        """
        if self.rung is None:
            return None
        below = LADDER[LADDER.index(self.rung) + 1 :]
        if not can_offload(device):
            below = below[-1:]
        if not below:
            return None
        self._below, self.rung = below[0], None
        self._guests.clear()
        return below[0]


def can_offload(device: torch.device) -> bool:
    """Whether `device` has memory of its own, so that a network which is elsewhere takes none of it."""
    return device.type == "cuda"


def free_memory(device: torch.device) -> int | None:
    """Bytes that a network can still take on `device`; None where the system does not say."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    found = memory()
    return None if found is None else found.available


def size_of(network: Any) -> int:
    """Bytes of the weights and buffers of a network."""
    return sum(_bytes(one) for one in (*network.parameters(), *network.buffers()))


def _bytes(tensor: Any) -> int:
    """Bytes of a tensor; of one that stands for others (int8 with factors) those of its parts."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return int(tensor.numel() * tensor.element_size())


def networks_of(parts: Any) -> Mapping[str, Any]:
    """The networks of a pipeline of diffusers, by the names of its components; a mapping as it is."""
    import torch

    if isinstance(parts, Mapping):
        return parts
    return {name: one for name, one in parts.components.items() if isinstance(one, torch.nn.Module)}


def weights_of(network: Any) -> dict[str, torch.Tensor]:
    """The weights and buffers of a network by name, wherever they are, also where it has one layer at a time on its
    device."""
    from accelerate.utils.modeling import get_state_dict_offloaded_model

    state: dict[str, torch.Tensor] = network.state_dict()
    if any(one.device.type == "meta" for one in state.values()):
        state = get_state_dict_offloaded_model(network)
    return state


def layer_by_layer(network: Any, device: torch.device) -> None:
    """Has each layer of a network on `device` while it computes, and its weights in the CPU's memory meanwhile.

    A layer's weights stay on the device for as long as a gradient has to go back through it.
    """
    from accelerate import cpu_offload

    cpu_offload(network, execution_device=device)


def free_cached(device: torch.device) -> None:
    """Gives what nobody holds any more back to `device`."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _fitting(sizes: Mapping[str, int], free: int) -> Rung:
    """The first rung at which networks of these sizes leave `ROOM` of what is free."""
    if sum(sizes.values()) + ROOM <= free:
        return "all"
    return "offload" if max(sizes.values(), default=0) + ROOM <= free else "lowest"


def _stays_whole(network: Any) -> bool:
    """Whether accelerate cannot take a network's layers apart: it makes weights anew, and loses what a GGUF file says
    of theirs."""
    return any(type(one).__name__ == "GGUFParameter" for one in network.parameters())


def _in_tiles(network: Any) -> None:
    """Has a VAE of diffusers encode and decode a picture tile by tile, and a batch picture by picture."""
    for switch in ("enable_tiling", "enable_slicing"):
        if hasattr(network, switch):
            getattr(network, switch)()


def _say(sentence: str) -> None:
    notes.warn(sentence, stacklevel=3, category=notes.OfThisRun)


def _named(device: torch.device) -> str:
    return "the CPU" if device.type == "cpu" else str(device)


class _Guests:
    """Networks of which one at a time is on the device: the one that works comes, and the one before it leaves."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._present: weakref.ref[Any] | None = None

    def add(self, network: Any) -> None:
        """Makes a network one of them; it goes to the CPU."""
        from accelerate.hooks import ModelHook, add_hook_to_module

        guests = self

        class Comes(ModelHook):
            """Brings the network before it computes."""

            execution_device = guests.device

            def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
                guests.come(module)
                return args, kwargs

        network.to("cpu")
        add_hook_to_module(network, Comes())

    def come(self, network: Any) -> None:
        """Brings a network to the device, after whatever is there has left."""
        present = None if self._present is None else self._present()
        if present is network:
            return
        if present is not None:
            present.to("cpu")
        self._present = None
        network.to(self.device)
        self._present = weakref.ref(network)

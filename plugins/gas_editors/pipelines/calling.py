"""One pipeline of diffusers called step by step: progress, stop, seed, and what comes out as a picture."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pictures

from gas.diffusion.memory import memory_named
from gas.diffusion.stepping import Stopped
from gas.errors import OutOfResources, ResultRefused
from gas.interfaces import Step, Watch
from gas.remedies import USE_BF16, USE_FP32

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.types import Image

CALLBACK = "callback_on_step_end"
_GIVEN = ("hidden_states", "x", "sample")  # what networks call the noisy latents


class Calls:
    """The calls of one run: `total` steps are planned, `done` made, `rows` the rows that the network was asked for."""

    def __init__(self, pipeline: Any, watch: Watch, total: int, done: int = 0, rows: int = 0) -> None:
        self.pipeline, self.watch, self.total, self.done = pipeline, watch, total, done
        self.rows = rows

    def make(
        self, arguments: Mapping[str, Any], seed: int, size: Size, planned: int, values: Mapping[str, float]
    ) -> Image:
        """The picture `(H, W, 3)` uint8 of `size` that the pipeline makes of its `arguments`, in `planned` steps at
        most, each reported with `values`.

        Stopped when the watch says so; ResultRefused (exit 11) for a latent that is not finite; OutOfResources (exit 7)
        when memory is short.
        """
        begun = self.done

        def reported(latents: torch.Tensor | None) -> None:
            if latents is not None and not bool(torch.isfinite(latents).all()):
                raise ResultRefused(
                    f"the latent is not a finite number any more (step {self.done - begun + 1})", USE_FP32
                )
            self.done += 1
            if self.watch.on_step is not None:
                self.watch.on_step(Step(self.done, self.total, values))
            if self.done < begun + planned:
                self._check_stop()

        self._check_stop()
        call = {**arguments, "generator": torch.Generator().manual_seed(seed), "output_type": "np"}
        with (
            torch.no_grad(),
            memory_named(lambda: OutOfResources(f"not enough memory for a picture of {size[0]}x{size[1]}", USE_BF16)),
            self._counted(),
            self._told(reported, call),
        ):
            made = self.pipeline(**call).images[0]
        self.done = begun + planned
        return _picture(made, size)

    def _check_stop(self) -> None:
        if self.watch.should_stop():
            raise Stopped

    @contextmanager
    def _told(self, reported: Any, call: dict[str, Any]) -> Iterator[None]:
        """Within it `reported` is called after every step; a pipeline without a callback has its bar asked."""
        pipeline = self.pipeline
        try:
            if CALLBACK in inspect.signature(type(pipeline).__call__).parameters:
                call[CALLBACK] = lambda pipe, i, t, tensors: (reported(tensors["latents"]), tensors)[1]
                yield
                return
            shown = pipeline.progress_bar
            pipeline.progress_bar = lambda *args, **kwargs: _Bar(reported)
            try:
                yield
            finally:
                pipeline.progress_bar = shown
        finally:
            pipeline.maybe_free_model_hooks()  # it does so itself, but not where it is stopped

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Within it the rows that the pipeline's network is given are counted."""
        network = getattr(self.pipeline, "transformer", None) or self.pipeline.unet

        def count(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            given = (
                args[0] if args else next(kwargs[name] for name in ("hidden_states", "x", "sample") if name in kwargs)
            )
            self.rows += len(given)

        hook = network.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()


class _Bar:
    """Stands in for the progress bar of a pipeline that calls nobody after its steps."""

    def __init__(self, reported: Any) -> None:
        self.update = lambda *args: reported(None)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *args: object) -> None:
        pass


def _picture(made: np.ndarray, size: Size) -> Image:
    """What a pipeline gives, `(H, W, C)` in [0, 1], as a picture of `size`; an alpha channel is left out."""
    if not np.isfinite(made).all():
        raise ResultRefused("the picture that was decoded is not a finite number", USE_FP32)
    image = np.rint(np.clip(made[..., :3], 0, 1) * 255).astype(np.uint8)
    if image.shape[:2] != (size[1], size[0]):
        image = np.asarray(Pictures.fromarray(image).resize(size, Pictures.Resampling.LANCZOS))
    return np.ascontiguousarray(image)

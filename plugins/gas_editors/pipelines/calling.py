"""One pipeline of diffusers called step by step: progress, stop, seed, and what comes out as a picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pictures
from torch import Tensor

from gas.diffusion.memory import memory_named
from gas.diffusion.stepping import Stopped
from gas.errors import OutOfMemory, ResultRefused
from gas.interfaces import Step, Watch
from gas.remedies import USE_BF16, USE_FP32

if TYPE_CHECKING:
    from gas.masks import Size
    from gas.types import Image

After = Callable[[int, Tensor], Tensor]
CALLBACK = "callback_on_step_end"
_GIVEN = ("hidden_states", "x", "sample")  # what networks call the noisy latents


class PipelineCalls:
    """The calls of one run: `total` steps are planned, `done` made, `rows` the rows that the network was asked for."""

    def __init__(self, pipeline: Any, watch: Watch, total: int, done: int = 0, rows: int = 0) -> None:
        self.pipeline, self.watch, self.total, self.done = pipeline, watch, total, done
        self.rows = rows

    def make(
        self,
        arguments: Mapping[str, Any],
        seed: int,
        size: Size,
        planned: int,
        values: Mapping[str, float],
        after: After | None = None,
    ) -> Image:
        """The picture `(H, W, 3)` uint8 of `size` that the pipeline makes of its `arguments`, in `planned` steps at
        most, each reported with `values`. `after(i, latents)` gives the latents with which step i (from 0) is left.

        Stopped when the watch says so; ResultRefused (exit 11) for a latent that is not finite; OutOfMemory (exit 7)
        when memory is short.
        """
        begun = self.done

        def reported(latents: Tensor | None) -> Tensor | None:
            if latents is not None and not bool(torch.isfinite(latents).all()):
                raise ResultRefused(
                    f"the latent is not a finite number any more (step {self.done - begun + 1})", USE_FP32
                )
            self.done += 1
            if self.watch.on_step is not None:
                self.watch.on_step(Step(self.done, self.total, values))
            left = latents if latents is None or after is None else after(self.done - begun - 1, latents)
            if self.done < begun + planned:
                self._check_stop()
            return left

        self._check_stop()
        call = {**arguments, "generator": torch.Generator().manual_seed(seed), "output_type": "np"}
        with (
            torch.no_grad(),
            memory_named(lambda: OutOfMemory(f"not enough memory for a picture of {size[0]}x{size[1]}", USE_BF16)),
            self._counted(),
            self._told(reported, call),
        ):
            made = self.pipeline(**call).images[0]
        self.done = begun + planned
        return _picture(made, size)

    def begin(self, arguments: Mapping[str, Any], seed: int) -> tuple[Tensor, Tensor]:
        """What the pipeline's network would be given first of its `arguments`, `(1, tokens, C)`, and the scheduler's
        noise levels; nothing is computed beyond that."""
        self._check_stop()

        def stop(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            raise _Begun(_given(args, kwargs))

        hook = self._network.register_forward_pre_hook(stop, with_kwargs=True)
        call = {**arguments, "generator": torch.Generator().manual_seed(seed), "output_type": "np"}
        try:
            with torch.no_grad(), memory_named(lambda: OutOfMemory("not enough memory for the prompt", USE_BF16)):
                self.pipeline(**call)
        except _Begun as begun:
            return begun.tokens, self.pipeline.scheduler.sigmas.clone()
        finally:
            hook.remove()
            self.pipeline.maybe_free_model_hooks()
        raise AssertionError("a pipeline that asks its network for nothing")

    @property
    def _network(self) -> Any:
        return getattr(self.pipeline, "transformer", None) or self.pipeline.unet

    def _check_stop(self) -> None:
        if self.watch.should_stop():
            raise Stopped

    @contextmanager
    def _told(self, reported: Any, call: dict[str, Any]) -> Iterator[None]:
        """Within it `reported` is called after every step; a pipeline without a callback has its bar asked."""
        pipeline = self.pipeline
        try:
            if CALLBACK in inspect.signature(type(pipeline).__call__).parameters:
                call[CALLBACK] = lambda pipe, i, t, tensors: {"latents": reported(tensors["latents"])}
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

        def count(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            self.rows += len(_given(args, kwargs))

        hook = self._network.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()


class _Begun(Exception):
    """The network was about to be asked for the first time."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens


def _given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The noisy latents among what a network is called with."""
    return args[0] if args else next(kwargs[name] for name in _GIVEN if name in kwargs)


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

"""What editors by instruction share: a subtask's instruction, one turn of denoising, and what is saved of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gas.checkpoint import of_this_run
from gas.diffusion.attention.control import AttentionLayer, AttentionMaps, control_attention
from gas.diffusion.instruct import InstructionModel, InstructionNoise, Sampler, text_positions, token_names
from gas.diffusion.memory import memory_named
from gas.errors import ModelUnavailable, OutOfResources, UsageError
from gas.files import slug
from gas.interfaces import Edited, EditJob, Editor, Step, Watch
from gas.picture.blend import blend, unblend
from gas.remedies import USE_BF16, Option, Remedy, Setting
from gas.types import Subtask
from gas_editors.model_options import ModelOptions, check_world, refuse_foreign

if TYPE_CHECKING:
    from gas.diffusion.stable_diffusion import StableDiffusion
    from gas.types import Image, Mask

CHECKPOINT_EVERY = 5
"""Steps between two saved states; they are slow, and a state is one or two latents."""


class InstructionOptions(ModelOptions):
    """Settings of the denoising. Defaults are those of InstructPix2Pix's own code and of ZONE's, which agree."""

    steps: int = Field(20, ge=1, le=1000, description="denoising steps of each turn (ZONE: 20, DPM-Solver++)")
    guidance_scale: float = Field(7.5, ge=0, le=100, description="s_T: how much the instruction counts")
    image_guidance_scale: float = Field(1.5, ge=0, le=100, description="s_I: how much the source picture counts")
    wording: Literal["request", "template"] = Field(
        "request",
        description="what the model is told: the plan's own instruction, or one made of phrases, 'turn A into B'",
    )


def instruction_of(subtask: Subtask, wording: Literal["request", "template"] = "request") -> str:
    """What a model is told to do for `subtask`: its own instruction if it has one, else (or as a "template") "turn A
    into B", "add B to C", "remove A from C" (Ground-A-Score's own wording for InstructPix2Pix is the first)."""
    own = subtask.instruction.strip()
    if own and wording == "request":
        return own
    anchor = (subtask.anchor or "").strip()
    if subtask.action == "add":
        return f"add {subtask.target} to {anchor}" if anchor else f"add {subtask.target}"
    if subtask.action == "remove":
        return f"remove {subtask.source} from {anchor}" if anchor else f"remove {subtask.source}"
    return f"turn {subtask.source} into {subtask.target}"


class InstructionEditor(Editor):
    """Base of editors that carry out a plan's instructions one after the other."""

    options_type: ClassVar[type[InstructionOptions]] = InstructionOptions
    options: Any

    @property
    def model(self) -> InstructionModel:
        """The shared model; loaded when first asked for."""
        return self._load(self.options.model)

    def _load(self, name: str | None) -> InstructionModel:
        if not name:
            raise UsageError(
                "no instruction model is named",
                Remedy(
                    "name_model",
                    "use {profile}, or {model} (a folder, or OWNER/NAME of the hub)",
                    profile=Setting("profile", "instruct"),
                    model=Option({"model": "NAME"}),
                ),
            )
        options = self.options
        return InstructionModel.load(name, self.runtime, variant=options.variant, allow_pickle=options.allow_pickle)

    def resolution(self) -> int:
        return self.model.parts.resolution

    def multiple(self) -> int:
        return self.model.parts.factor

    def check(self, image: Image) -> None:
        check_world(self, lambda: self.model.parts, image)

    def coded(self, image: Image) -> Image:
        return self.model.parts.decode(self.model.parts.encode(image))

    @abstractmethod
    def start(self, job: EditJob, number: int, instruction: str, picture: Image) -> Turn:
        """The turn that carries out the subtask `number` on `picture`, at its beginning."""

    @abstractmethod
    def finish(self, job: EditJob, number: int, turn: Turn, before: Image, stopped: bool) -> Finished:
        """What becomes of `before` by a turn that has made all its steps, or was `stopped` after one at least."""

    @torch.no_grad()
    def edit(self, job: EditJob) -> Edited:
        """The picture after all turns.

        Its mask is None when a turn remakes the whole picture; else it is what the turns pasted, taken together, and
        outside it the image is the last turn's own output."""
        options, watch = self.options, job.watch
        model = self.model
        refuse_foreign(model.parts, job, options.accept_db)
        instructions = [instruction_of(subtask, options.wording) for subtask in job.plan.subtasks]
        so_far = _Progress.begun(job.image) if watch.resume is None else _Progress.restored(watch.resume, job)
        resume = watch.resume
        stopped = False
        while so_far.number < len(instructions) and not stopped:
            turn = self.start(job, so_far.number, instructions[so_far.number], so_far.picture)
            if resume is not None:
                turn.restore(under(resume, "turn."))
                resume = None
            stopped = self._run(turn, so_far, watch, len(instructions))
            if turn.done:
                so_far.add(turn, self.finish(job, so_far.number, turn, so_far.picture, stopped))
        cut = {text: words for text in instructions if (words := model.parts.dropped_words(text))}
        notes = [f"the instruction {text[:60]!r} is too long: the model does not see {cut[text]!r}" for text in cut]
        log = {
            "model": options.model,
            "guidance_scale": options.guidance_scale,
            "image_guidance_scale": options.image_guidance_scale,
            "evaluations": so_far.evaluations,
            "turns": so_far.turns,
            "prompts_cut": cut,
            "notes": [*notes, *dict.fromkeys(note for one in so_far.turns for note in one.get("notes", ()))],
        }
        image, mask = so_far.pasted(job.image)
        return Edited(image=image, mask=mask, stopped=stopped, log=log)

    def _run(self, turn: Turn, so_far: _Progress, watch: Watch, turns: int) -> bool:
        """Makes the steps of `turn` that are left; whether it was told to stop."""

        def checkpoint() -> None:
            if watch.checkpoint is not None:
                watch.checkpoint({**so_far.state(), **{f"turn.{name}": value for name, value in turn.state().items()}})

        steps = self.options.steps
        while turn.done < steps:
            if watch.should_stop():
                checkpoint()
                return True
            change = turn.step()
            if watch.on_step is not None:
                values = {"instruction": change, "turn": so_far.number + 1}
                watch.on_step(Step(so_far.number * steps + turn.done, turns * steps, values, turn.decode))
            if turn.done % CHECKPOINT_EVERY == 0:
                checkpoint()
        return False


@dataclass(frozen=True)
class Finished:
    """What a turn made: `image` `(H, W, 3)` uint8 is its own output, pasted with the strength `alpha` `(H, W)` in [0,
    1] (None: it replaces the whole picture). `log` holds plain JSON values."""

    image: Image
    alpha: Mask | None
    log: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Progress:
    """All that the turns so far have left: the picture to go on with, the raw output of the last turn, and how much of
    the first picture still shows, `(H, W)` in [0, 1] (None: nothing, a turn has replaced it)."""

    number: int
    picture: Image
    raw: Image
    kept: Mask | None
    evaluations: int
    turns: list[dict[str, Any]]

    @classmethod
    def begun(cls, image: Image) -> _Progress:
        return cls(0, image, image, np.ones(image.shape[:2], np.float32), 0, [])

    @classmethod
    def restored(cls, state: Mapping[str, Any], job: EditJob) -> _Progress:
        with of_this_run():
            kept = state["kept"].numpy() if "kept" in state else None
            picture, raw = state["picture"].numpy(), state["raw"].numpy()
            found = cls(int(state["number"]), picture, raw, kept, int(state["evaluations"]), list(state["turns"]))
            if picture.shape != job.image.shape or not 0 <= found.number < len(job.plan.subtasks):
                raise ValueError("its size or number of turns differs")
        return found

    def state(self) -> dict[str, Any]:
        pictures = {"picture": self.picture, "raw": self.raw, **({} if self.kept is None else {"kept": self.kept})}
        plain = {"number": self.number, "evaluations": self.evaluations, "turns": list(self.turns)}
        return {**plain, **{name: torch.from_numpy(np.array(one)) for name, one in pictures.items()}}

    def add(self, turn: Turn, made: Finished) -> None:
        """Goes on to the next turn. What the turn does not paste stays bit for bit as it was."""
        self.number += 1
        self.evaluations += turn.evaluations
        self.turns.append({"instruction": turn.instruction, "steps": turn.done, **made.log})
        self.raw = made.image
        if made.alpha is None:
            self.picture, self.kept = made.image, None
            return
        self.picture = blend(self.picture, made.image, made.alpha)
        self.kept = None if self.kept is None else self.kept * (1 - made.alpha)

    def pasted(self, first: Image) -> tuple[Image, Mask | None]:
        """The image and the mask that, pasted once into the `first` picture, leave what the turns left one by one."""
        if not self.turns:
            return self.picture, np.zeros(first.shape[:2], np.float32)
        if self.kept is None:
            return self.picture, None
        if len(self.turns) == 1:
            return self.raw, (1 - self.kept).astype(np.float32)
        return unblend(first, self.picture, self.kept, self.raw)


class Turn:
    """One instruction on one picture, from noise to the edited latent.

    The second of two `models` advances a latent of its own from the same noise, and after each step the first one's
    becomes `(z + beta z_2) / (1 + beta)` (ZONE, eq. 5). Each of `maps` collects the attention of its layers of the
    first model.
    """

    def __init__(
        self,
        models: Sequence[InstructionModel],
        image: Image,
        instruction: str,
        seed: int,
        options: InstructionOptions,
        beta: float = 0.0,
        maps: Sequence[tuple[Sequence[AttentionLayer], AttentionMaps]] = (),
    ) -> None:
        self.models, self.options, self.beta, self.maps = tuple(models), options, beta, tuple(maps)
        self.instruction = instruction
        self.conditions = [model.condition(image) for model in models]
        first = self.conditions[0]
        if any(one.shape != first.shape for one in self.conditions):
            raise ModelUnavailable(
                f"the two instruction models do not share a latent space: "
                f"{' and '.join('x'.join(map(str, one.shape[1:])) for one in self.conditions)}",
                "name a second_model of the same kind",
            )
        self.embeddings = [model.embed(instruction) for model in models]
        noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed)).to(first.device)
        self.samplers = [Sampler(model.parts.schedule, options.steps, noise) for model in models]
        self.relevance = torch.zeros(first.shape[2:])
        self.evaluations = 0

    @property
    def done(self) -> int:
        return self.samplers[0].done

    @property
    def latent(self) -> Tensor:
        """The edited latent `(1, C, h, w)` at the end, before it what is taken for it."""
        sampler = self.samplers[0]
        return sampler.z if sampler.estimate is None or sampler.done == sampler.steps else sampler.estimate

    def decode(self) -> Image:
        """The picture `(H, W, 3)` uint8 of `latent`."""
        return self.models[0].parts.decode(self.latent)

    def step(self) -> float:
        """The root mean square of what the instruction adds to the predicted noise, after one step of all models."""
        noises: list[InstructionNoise] = []
        with ExitStack() as seen, memory_named(lambda: _too_large(self.conditions[0])):
            for layers, one in self.maps:
                seen.enter_context(control_attention(self.models[0].network, layers, one))
            for model, sampler, condition, prompts in zip(
                self.models, self.samplers, self.conditions, self.embeddings, strict=True
            ):
                noises.append(model.predict(sampler.z, sampler.t, condition, prompts))
                self.evaluations += 3
        added = noises[0].text - noises[0].image
        self.relevance += added[0].abs().mean(0).float().cpu()
        for sampler, noise in zip(self.samplers, noises, strict=True):
            sampler.step(noise.guided(self.options.guidance_scale, self.options.image_guidance_scale))
        for other in self.samplers[1:]:
            first = self.samplers[0]
            first.z = (first.z + self.beta * other.z) / (1 + self.beta)
        return float(added.square().mean().sqrt())

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: a flat mapping of names to tensors and plain numbers."""
        state: dict[str, Any] = {"evaluations": self.evaluations, "relevance": self.relevance}
        for number, sampler in enumerate(self.samplers):
            state |= {f"sampler.{number}.{name}": value for name, value in sampler.state().items()}
        for number, (_, one) in enumerate(self.maps):
            state |= {f"maps.{number}.{name}": value for name, value in one.state().items()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`. InputRefused when it belongs to another run."""
        for number, sampler in enumerate(self.samplers):
            sampler.restore(under(state, f"sampler.{number}."))
        for number, (_, one) in enumerate(self.maps):
            one.restore(under(state, f"maps.{number}."), self.conditions[0].device)
        self.relevance = state["relevance"].clone()
        self.evaluations = int(state["evaluations"])


def under(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def save_tokens(
    watch: Watch, model: StableDiffusion, prompt: str, maps: Tensor, size: tuple[int, int], what: str
) -> None:
    """Saves the attention `(tokens, h, w)` to each token of `prompt`, each scaled to its own top, at `size` (H, W)."""
    for position, name, one in zip(text_positions(model, prompt), token_names(model, prompt), maps, strict=True):
        save_picture(watch, f"{what}-{position:02d}-{slug(name, empty='token')}", one / one.max(), size)


def save_picture(watch: Watch, name: str, values: Tensor | np.ndarray, size: tuple[int, int]) -> None:
    """Saves one `(h, w)` map in [0, 1] under `name`, enlarged to `size` (H, W)."""
    if watch.save_map is None:
        return
    one = torch.as_tensor(np.asarray(values.cpu() if isinstance(values, Tensor) else values), dtype=torch.float32)
    large = F.interpolate(one[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    watch.save_map(name, large.numpy())


def _too_large(latent: Tensor) -> OutOfResources:
    return OutOfResources(
        f"not enough memory for three rows of a latent of {latent.shape[3]}x{latent.shape[2]}",
        USE_BF16,
    )

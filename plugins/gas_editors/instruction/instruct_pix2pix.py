"""InstructPix2Pix (Brooks et al. 2022, arXiv 2211.09800), and with other weights MagicBrush (Zhang et al. 2023, arXiv
2306.10012): the picture is made anew, told the old one and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gas.diffusion.attention.maps import AttentionMaps
from gas.diffusion.attention.sites import sites_near
from gas.diffusion.instruct import TEXT_ROW
from gas.interfaces import EditJob
from gas_editors.instruction.base import InstructionEditor, InstructionOptions
from gas_editors.instruction.confined import Confined
from gas_editors.instruction.turn import Finished, Turn
from gas_editors.maps import save_tokens
from gas_editors.strokes import Strokes

if TYPE_CHECKING:
    from gas.types import Image


class InstructPix2PixOptions(InstructionOptions):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 20, "guidance_scale": 7.5, "image_guidance_scale": 1.5, "wording": "request"},
        "ground-a-score": {"steps": 20, "guidance_scale": 7.5, "image_guidance_scale": 1.5, "wording": "template"},
    }


class InstructPix2PixEditor(InstructionEditor[InstructPix2PixOptions]):
    """Carries out each subtask as an instruction, in turn: each turn works on the picture that the last one made. A
    grounded run makes them all in one denoising, each in its region (`gas_editors.instruction.confined`).

    What it makes is pasted where the job's regions are, or everywhere when there are none.
    """

    options_type = InstructPix2PixOptions

    def start(
        self,
        job: EditJob,
        numbers: Sequence[int],
        instructions: Sequence[str],
        picture: Image,
        confined: Confined | None = None,
        strokes: Strokes | None = None,
    ) -> Turn:
        model = self.model
        maps = []
        if job.watch.save_map is not None:
            size = picture.shape[0] // model.factor, picture.shape[1] // model.factor
            words = model.need_words("a map of attention")
            # A quarter of the latent's side, 16 x 16 cells at 512 pixels: where Stable Diffusion's words show best.
            sites = sites_near(model.need_sites("cross", "a map of attention"), size, (size[0] * size[1]) ** 0.5 / 4)
            maps = [
                (sites, AttentionMaps(size, [TEXT_ROW + row], words.positions(instruction)))
                for row, instruction in enumerate(instructions)
            ]
        seed = job.seed + numbers[0]
        return Turn([model], picture, instructions, seed, self.options, maps=maps, confined=confined, strokes=strokes)

    def finish(self, job: EditJob, numbers: Sequence[int], turn: Turn, before: Image, stopped: bool) -> Finished:
        if not stopped and turn.maps:
            words, size = self.model.need_words("a map of attention"), before.shape[:2]
            for number, instruction, (_, maps) in zip(numbers, turn.instructions, turn.maps, strict=True):
                save_tokens(job.watch, words, instruction, maps.mean()[0], size, f"{number + 1}-attention")
        return Finished(turn.decode(), None)

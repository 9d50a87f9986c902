"""An editor that tints the regions of a plan: a complete plugin for gas."""

import numpy as np
from pydantic import Field

from gas import BackendSpec, Edited, Editor, Options, Step, hookimpl


class TintOptions(Options):
    colour: tuple[int, int, int] = Field((255, 160, 0), description="RGB, 0 to 255 each")
    amount: float = Field(0.5, ge=0, le=1, description="share of the colour in the result")


class TintEditor(Editor):
    """Mixes a colour into the regions, or into the whole picture when there are none."""

    options_type = TintOptions

    def edit(self, job):
        if job.watch.should_stop():
            return Edited(job.image, stopped=True)
        mask = np.ones(job.image.shape[:2])
        if job.regions:
            mask = np.max([region.mask for region in job.regions], axis=0)
        share = self.options.amount * mask[..., None]
        tinted = (1 - share) * job.image + share * np.array(self.options.colour)
        if job.watch.on_step:
            job.watch.on_step(Step(1, 1))
        return Edited(np.round(tinted).astype(np.uint8))


@hookimpl
def gas_register_editors():
    return [BackendSpec("tint", "gas_tint:TintEditor", "mixes a colour into the regions")]

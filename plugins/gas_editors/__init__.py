"""First-party editors and the profiles for photographs; named here, imported when used."""

from __future__ import annotations

from gas import BackendSpec, hookimpl


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "auto",
            "gas_editors.choosing.auto:AutoEditor",
            "each subtask by the editor that the profile names for its sort",
        ),
        BackendSpec(
            "retouch",
            "gas_editors.retouch.editor:RetouchEditor",
            "colour, tone, removal, blur: by arithmetic on the photograph's own pixels, without a model",
        ),
        BackendSpec(
            "ground-a-score",
            "gas_editors.distillation.ground_a_score:GroundAScoreEditor",
            "Ground-A-Score: a masked gradient for each subtask, null-text penalty, selective contrast",
            extra="diffusion",
        ),
        BackendSpec(
            "cds",
            "gas_editors.distillation.cds:CDSEditor",
            "Contrastive Denoising Score: DDS that keeps the structure",
            extra="diffusion",
        ),
        BackendSpec("dds", "gas_editors.distillation.dds:DDSEditor", "Delta Denoising Score", extra="diffusion"),
        BackendSpec(
            "sds",
            "gas_editors.distillation.sds:SDSEditor",
            "Score Distillation Sampling, the baseline",
            extra="diffusion",
        ),
        BackendSpec(
            "instruct-pix2pix",
            "gas_editors.instruction.instruct_pix2pix:InstructPix2PixEditor",
            "InstructPix2Pix: the whole picture redrawn by an instruction",
            extra="diffusion",
        ),
        BackendSpec(
            "magicbrush",
            "gas_editors.instruction.instruct_pix2pix:InstructPix2PixEditor",
            "the same with weights trained on MagicBrush's hand-made edits",
            extra="diffusion",
        ),
        BackendSpec(
            "edit-model",
            "gas_editors.pipelines.edit_model:EditModelEditor",
            "FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit and their like: each subtask on a crop around its region",
            extra="diffusion",
        ),
        BackendSpec(
            "inpaint",
            "gas_editors.pipelines.inpaint:InpaintEditor",
            "models that fill a masked region, from Stable Diffusion 1.5 to FLUX.2: each subtask on a crop of its own",
            extra="diffusion",
        ),
        BackendSpec(
            "tiles",
            "gas_editors.tiles:TilesEditor",
            "detail for large places after another editor: drawn at their own size, tile by tile (MultiDiffusion)",
            extra="diffusion",
        ),
        BackendSpec(
            "ledits-pp",
            "gas_editors.sampling.ledits_pp:LEditsPPEditor",
            "LEDITS++: several concepts at once, each where the model itself sees it",
            extra="diffusion",
        ),
        BackendSpec(
            "gligen",
            "gas_editors.sampling.gligen:GLIGENEditor",
            "GLIGEN inpainting: each box filled with what its phrase says",
            extra="diffusion",
        ),
        BackendSpec(
            "text2live",
            "gas_editors.text2live.editor:Text2LiveEditor",
            "Text2LIVE: a layer generator trained on the one picture, led by CLIP",
            extra="diffusion",
        ),
        BackendSpec(
            "zone",
            "gas_editors.instruction.zone:ZONEEditor",
            "ZONE: one region from one instruction; every other pixel stays as it was",
            extra="diffusion",
        ),
        BackendSpec(
            "plug-and-play",
            "gas_editors.sampling.plug_and_play:PlugAndPlayEditor",
            "Plug-and-Play: sampled again with the picture's own features and self-attention",
            extra="diffusion",
        ),
        BackendSpec(
            "pix2pix-zero",
            "gas_editors.sampling.pix2pix_zero:Pix2PixZeroEditor",
            "pix2pix-zero: a direction from thing to thing, and the picture's cross-attention kept",
            extra="diffusion",
        ),
        BackendSpec(
            "sdedit",
            "gas_editors.sampling.sdedit:SDEditEditor",
            "SDEdit: noise on the picture, taken off again under the target sentence",
            extra="diffusion",
        ),
        BackendSpec(
            "flow-edit",
            "gas_editors.sampling.flow_edit:FlowEditEditor",
            "FlowEdit: straight to the edited picture along the difference of two velocities, without an inversion",
            extra="diffusion",
        ),
        BackendSpec(
            "diffedit",
            "gas_editors.sampling.diffedit:DiffEditEditor",
            "DiffEdit: a mask from what two sentences disagree about, and an edit of the inverted picture in it",
            extra="diffusion",
        ),
        BackendSpec(
            "prompt-to-prompt",
            "gas_editors.sampling.prompt_to_prompt:PromptToPromptEditor",
            "Prompt-to-Prompt: sampled again with the attention that the picture's own words had",
            extra="diffusion",
        ),
        BackendSpec(
            "masactrl",
            "gas_editors.sampling.masactrl:MasaCtrlEditor",
            "MasaCtrl: sampled again while looking at the source picture: other poses of the same things",
            extra="diffusion",
        ),
    )


@hookimpl
def gas_register_profiles() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "retouch",
            "gas_editors:retouch.toml",
            "no model at all: colour, tone, removal and blur, for photographs",
        ),
        BackendSpec(
            "sd15",
            "gas_editors:sd15.toml",
            "Stable Diffusion 1.5 with the papers' values, GroundingDINO and SAM, for photographs",
            extra="diffusion",
            weights="CreativeML Open RAIL-M, Apache-2.0",
        ),
        BackendSpec(
            "published",
            "gas_editors:published.toml",
            "the papers' own set: Stable Diffusion 1.5, GroundingDINO Swin-T with box masks, a GPT-4V-class planner",
            extra="groundingdino",
            weights="CreativeML Open RAIL-M, Apache-2.0",
        ),
        BackendSpec(
            "instruct",
            "gas_editors:instruct.toml",
            "InstructPix2Pix with ZONE's region from attention and Segment Anything, for photographs",
            extra="diffusion",
            weights="MIT, CreativeML Open RAIL-M, Apache-2.0",
        ),
        BackendSpec(
            "sdxl",
            "gas_editors:sdxl.toml",
            "Stable Diffusion XL: LEDITS++ with its authors' values, each place in its region, for photographs",
            extra="diffusion",
            weights="CreativeML Open RAIL++-M, Apache-2.0",
        ),
        BackendSpec(
            "sd3",
            "gas_editors:sd3.toml",
            "Stable Diffusion 3.5 medium: FlowEdit with its authors' values, each place in its region, for photographs",
            extra="diffusion",
            weights="Stability AI Community License (gated), Apache-2.0",
        ),
        BackendSpec(
            "flux",
            "gas_editors:flux.toml",
            "FLUX.1 dev: FlowEdit with its authors' values, each place in its region, for photographs",
            extra="diffusion",
            weights="FLUX.1 [dev] Non-Commercial License (gated), Apache-2.0",
        ),
        BackendSpec(
            "kontext",
            "gas_editors:kontext.toml",
            "FLUX.1 Kontext dev: told what to change, each place on a crop of its own, for photographs",
            extra="diffusion",
            weights="FLUX.1 [dev] Non-Commercial License (gated), Apache-2.0",
        ),
        BackendSpec(
            "qwen-edit",
            "gas_editors:qwen-edit.toml",
            "Qwen-Image-Edit-2509: told what to change, each place on a crop of its own, for photographs",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "flux2-klein",
            "gas_editors:flux2-klein.toml",
            "FLUX.2 klein 4B: four steps, told what to change, each place on a crop of its own, for photographs",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "edit-model",
            "gas_editors:edit-model.toml",
            "any other model that edits by an instruction: each place on a crop of its own",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "inpaint",
            "gas_editors:inpaint.toml",
            "any other model that fills a masked region: each place on a crop of its own",
            extra="diffusion",
            weights="Apache-2.0",
        ),
    )

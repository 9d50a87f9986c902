"""First-party grounders; named here, imported when used."""

from __future__ import annotations

from gas import BackendSpec, hookimpl


@hookimpl
def gas_register_grounders() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "grounding-dino",
            "gas_grounders.grounding_dino:GroundingDino",
            "boxes for phrases (GroundingDINO)",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "mm-grounding-dino",
            "gas_grounders.grounding_dino:MMGroundingDino",
            "boxes for phrases (MM Grounding DINO, LLMDet)",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "sam3",
            "gas_grounders.sam3:Sam3",
            "masks for phrases, each thing of a name by itself (Segment Anything 3)",
            extra="vision",
            weights="SAM License (gated)",
        ),
        BackendSpec(
            "yolo-world",
            "gas_grounders.yolo_world:YoloWorld",
            "boxes for phrases, fast (YOLO-World)",
            extra="yolo",
            licence="AGPL-3.0",
            weights="AGPL-3.0",
        ),
        BackendSpec(
            "owlv2",
            "gas_grounders.owlv2:Owlv2",
            "boxes for phrases (OWLv2)",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "clipseg",
            "gas_grounders.clipseg:ClipSeg",
            "rough masks for phrases, things without a shape too (CLIPSeg)",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "attention",
            "gas_grounders.attention:AttentionGrounder",
            "masks for phrases from the diffusion model's own attention, with no extra model",
            extra="diffusion",
        ),
        BackendSpec(
            "colour",
            "gas_grounders.colour:ColourGrounder",
            "connected areas of the colour in a phrase, masks and all; no model",
        ),
        BackendSpec(
            "grabcut",
            "gas_grounders.grabcut:GrabCutGrounder",
            "masks for boxes by their colours (GrabCut); no model",
        ),
        BackendSpec(
            "sam",
            "gas_grounders.sam.grounder:Sam",
            "masks for boxes, or all segments of a picture (Segment Anything)",
            extra="diffusion",
            weights="Apache-2.0",
        ),
        BackendSpec(
            "sam2",
            "gas_grounders.sam.grounder:Sam2",
            "masks for boxes, or all segments of a picture (Segment Anything 2)",
            extra="vision",
            weights="Apache-2.0",
        ),
    )

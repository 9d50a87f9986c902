"""First-party verifiers; named here, imported when used."""

from __future__ import annotations

from gas import BackendSpec, hookimpl


@hookimpl
def gas_register_verifiers() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "combined",
            "gas_verifiers.combined:Combined",
            "the detector for things, a model that sees or CLIP for colours; the pixels for what is none of these",
        ),
        BackendSpec(
            "detector", "gas_verifiers.detector:DetectorVerifier", "asks the chosen detector for what should be there"
        ),
        BackendSpec(
            "clip",
            "gas_verifiers.clip:ClipVerifier",
            "whether the place looks more like the target than like the source (CLIP)",
            extra="diffusion",
        ),
        BackendSpec("vlm", "gas_verifiers.vlm:VlmVerifier", "asks a vision-language model, yes or no"),
        BackendSpec("pixels", "gas_verifiers.pixels:PixelsVerifier", "what changed: nothing, noise, black; no model"),
    )

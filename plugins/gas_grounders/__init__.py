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
    )

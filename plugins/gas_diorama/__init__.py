"""The diorama: a small world with a renderer, captions, exact edits and trained networks of the real classes."""

from __future__ import annotations

from gas import BackendSpec, hookimpl


@hookimpl
def gas_register_profiles() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "diorama",
            "gas_diorama:diorama.toml",
            "the embedded small world: trained networks, offline, on a CPU",
            extra="diffusion",
            weights="Apache-2.0",
        ),
    )

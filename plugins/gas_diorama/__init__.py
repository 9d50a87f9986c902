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


@hookimpl
def gas_register_suites() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec(
            "diorama",
            "gas_diorama.bench.suites:DioramaSuite",
            "edits with a known exact result: what each editor gets done, and what it changes elsewhere",
            extra="diffusion",
        ),
        BackendSpec(
            "detail",
            "gas_diorama.bench.suites:DetailSuite",
            "large scenes with things far apart: one crop around all of them against a working picture for each",
            extra="diffusion",
        ),
        BackendSpec(
            "tiles",
            "gas_diorama.bench.suites:TilesSuite",
            "large grounds and skies: how sharp, and how near to the exact result, without and with detail",
            extra="diffusion",
        ),
        BackendSpec(
            "speed",
            "gas_diorama.bench.suites:SpeedSuite",
            "rows, seconds and memory, side by side in one run",
            extra="diffusion",
        ),
        BackendSpec(
            "verify",
            "gas_diorama.bench.verifying.run:VerifySuite",
            "verifiers against exact results: what is wrongly accepted, wrongly rejected, and gained by other tries",
            extra="diffusion",
        ),
        BackendSpec(
            "matrix",
            "gas_diorama.bench.suites:MatrixSuite",
            "which editor runs on which family of models, plain and grounded, and why it is refused elsewhere",
            extra="diffusion",
        ),
    )

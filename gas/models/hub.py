"""Models of the Hugging Face hub, as local folders: from its cache, or downloaded into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gas.errors import ModelUnavailable
from gas.models.manifest import ModelSource
from gas.remedies import Command, Remedy


def snapshot(source: ModelSource, patterns: Sequence[str], offline: bool) -> Path:
    """The local snapshot of a hub repository; of what is not in the cache only files that fit `patterns` are fetched,
    and nothing when `offline`. ModelUnavailable (exit 6) says what is in the way and how to get it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = source.location
    full = f"{name}@{source.revision}" if source.revision else name
    pull = Command("models pull", full)
    try:
        return Path(
            snapshot_download(name, revision=source.revision, allow_patterns=list(patterns), local_files_only=offline)
        )
    except GatedRepoError:
        raise ModelUnavailable(
            f"model {name!r} is gated: its licence has to be accepted first",
            Remedy(
                "accept_licence", "accept it on the page of {name}, set HF_TOKEN, then: {pull}", name=name, pull=pull
            ),
        ) from None
    except RevisionNotFoundError:
        raise ModelUnavailable(f"model {name!r} has no revision {source.revision!r}", "check what follows @") from None
    except RepositoryNotFoundError:
        raise ModelUnavailable(
            f"there is no model {name!r} on the hub, or it is private", "check the name, or set HF_TOKEN"
        ) from None
    except LocalEntryNotFoundError:
        why = "downloads are switched off" if offline else "the hub cannot be reached"
        raise ModelUnavailable(
            f"model {full!r} is not in the cache and {why}",
            Remedy("pull_online", "while online: {pull}; or name a local folder", pull=pull),
        ) from None
    except (HfHubHTTPError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelUnavailable(
            f"model {name!r} cannot be downloaded: {first}",
            Remedy("pull_again", "try again: {pull}; or name a local folder", pull=pull),
        ) from None

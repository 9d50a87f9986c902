"""ZONE's action classifier: what an instruction asks for, from the text encoder's own states (section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gas import notes
from gas.diffusion.clip_text import ClipText
from gas.errors import GasError, ModelUnavailable
from gas.files import make_folder, write_bytes
from gas.folders import cache_folder
from gas.placement import weights_of
from gas.runtime import Runtime
from gas_editors.instruction.action_sentences import ACTIONS, Action, worded

HIDDEN = 128
FADING = 0.8
"""Weight of a word's state beside that of the one before it. Chosen on generated sentences: plain means tell less, and
the last state least."""
TRAINED_ON = 450
EPOCHS = 30
_AT_ONCE = 32
_LEARNING_RATE = 3e-3
"""The paper says 0.1, which one step of Adam would carry every weight by; its own checkpoint's weights are too small to
have come from that."""

_FOLDS = 3

Decode = Literal["class", "token"]
States = Literal["last", "words"]
"""What is taken of the text encoder: its last states (the paper), or its words before any layer has mixed them."""


class ActionClassifier:
    """A network of two layers, dim → 128 → 3 (768 → 128 → 3 over CLIP ViT-L/14), on a frozen text encoder.

    `decode` "class" takes the mean of the `states` of the instruction's words and the greatest of three outputs.
    "token" is what the reference code does with its published checkpoint: all token states go through the network, and
    the action is the one whose output is greatest at the latest token.
    """

    def __init__(
        self, words: ClipText, network: nn.Sequential, decode: Decode = "class", states: States = "last"
    ) -> None:
        self.words, self.network, self.decode, self.states = words, network, decode, states

    @torch.no_grad()
    def actions(self, instructions: Sequence[str]) -> list[Action]:
        """What each instruction asks for: change, add or remove."""
        if self.decode == "token":
            found = []
            for text in instructions:
                states = self.words.states([text])[0].float()
                found.append(int(self.network(states).argmax(0).argmax()))
            return [ACTIONS[number] for number in found]
        outputs = self.network(features(self.words, instructions, self.states))
        return [ACTIONS[int(number)] for number in outputs.argmax(1)]


@torch.no_grad()
def features(words: ClipText, texts: Sequence[str], states: States = "last") -> Tensor:
    """`(n, dim)` float32: the mean of the states of each text's words, weighted by `FADING`, for a request says first
    what is to be done."""
    rows = []
    for start in range(0, len(texts), _AT_ONCE):
        part = list(texts[start : start + _AT_ONCE])
        lengths = [len(words.positions(text)) for text in part]
        seen = words.states(part) if states == "last" else words.word_embeddings(part)
        for one, length in zip(seen.float(), lengths, strict=True):
            inner = one[1 : max(length - 1, 2)]
            weights = FADING ** torch.arange(len(inner), device=inner.device)
            rows.append((weights[:, None] * inner).sum(0) / weights.sum())
    return torch.stack(rows)


def trained(words: ClipText, seed: int = 0) -> ActionClassifier:
    """A classifier trained on 450 sentences that are made up here; seconds, and the same for the same seed.

    Over those states that tell wordings better that it was not trained on: a third of the forms is left out at a time.
    """
    made = worded(TRAINED_ON, seed)
    y = torch.tensor([ACTIONS.index(action) for _, action, _ in made], device=words.device)
    fold = torch.tensor([form % _FOLDS for _, _, form in made], device=words.device)
    kinds: tuple[States, ...] = ("last", "words")
    seen = {states: features(words, [text for text, _, _ in made], states) for states in kinds}

    def unseen(states: States) -> float:
        x, right = seen[states], 0
        for number in range(_FOLDS):
            network = _fitted(x[fold != number], y[fold != number], seed)
            right += int((network(x[fold == number]).argmax(1) == y[fold == number]).sum())
        return right / len(y)

    best = max(kinds, key=unseen)
    return ActionClassifier(words, _fitted(seen[best], y, seed), states=best)


def _fitted(x: Tensor, y: Tensor, seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    network = _network(x.shape[1], generator).to(x.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    with torch.enable_grad():
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x), generator=generator).split(_AT_ONCE):
                loss = nn.functional.cross_entropy(network((x[rows] - mean) / deviation), y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    # The scaling of the states goes into the first layer, so that the network is the paper's.
    first, _ = _layers(network)
    with torch.no_grad():
        first.weight.div_(deviation)
        first.bias.sub_(first.weight @ mean)
    return network.requires_grad_(False)


def fingerprint(words: ClipText) -> str:
    """What a trained classifier depends on, as hexadecimal digits: the text encoder's weights, its tokenizer's words,
    the sentences and how it is trained on them."""
    digest = hashlib.sha256(repr((HIDDEN, FADING, EPOCHS, _AT_ONCE, _LEARNING_RATE, _FOLDS)).encode())
    digest.update(repr(worded(TRAINED_ON)).encode())
    digest.update(repr(sorted(words.tokenizer.get_vocab().items())).encode())
    for name, weight in weights_of(words.encoder).items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def kept(words: ClipText) -> ActionClassifier:
    """The classifier that was trained before over this text encoder, from the toolkit's cache; else one that is trained
    now and put there. A file that is damaged is said and replaced; where none can be written, that is said."""
    from safetensors.torch import save

    folder, name = cache_folder() / "zone-actions", fingerprint(words)
    kinds: tuple[States, ...] = ("last", "words")
    for states in kinds:
        if (path := folder / f"{name}-{states}.safetensors").is_file():
            try:
                return loaded(words, path, "class", states)
            except ModelUnavailable as error:
                notes.warn(f"{path}: {error.message}; it is trained again", stacklevel=2)
    made = trained(words)
    path = folder / f"{name}-{made.states}.safetensors"
    first, second = _layers(made.network)
    weights = {"fc1.weight": first.weight, "fc1.bias": first.bias, "fc2.weight": second.weight, "fc2.bias": second.bias}
    try:
        make_folder(path.parent)
        write_bytes(path, save({name: one.cpu().contiguous() for name, one in weights.items()}), overwrite=True)
    except GasError as error:
        notes.warn(f"the action classifier cannot be kept: {error.message}", stacklevel=2)
    return made


def loaded(words: ClipText, path: Path, decode: Decode, states: States = "last") -> ActionClassifier:
    """The classifier in a file of weights `fc1` (128, dim) and `fc2` (3, 128), safetensors or a `.pth` of which only
    tensors are read. ModelUnavailable when the file is not one, or is for another text encoder."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    dim = words.encoder.config.hidden_size
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        names = {f"fc{layer}.{kind}" for layer in (1, 2) for kind in ("weight", "bias")}
        if not isinstance(weights, dict) or not names <= set(weights):
            raise KeyError(f"it has no {', '.join(sorted(names))}")
        network = _network(dim, torch.Generator())
        network.load_state_dict(
            {"0.weight": weights["fc1.weight"], "0.bias": weights["fc1.bias"]}
            | {"2.weight": weights["fc2.weight"], "2.bias": weights["fc2.bias"]}
        )
    except (OSError, KeyError, RuntimeError, ValueError, EOFError, SafetensorError, UnpicklingError) as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelUnavailable(
            f"{path.name} is not an action classifier for a text encoder of {dim} numbers: {first}",
            "leave the option classifier out: one is trained in seconds",
        ) from None
    return ActionClassifier(words, network.to(words.device).eval().requires_grad_(False), decode, states)


def classifier(runtime: Runtime, name: str, words: ClipText, path: str | None, decode: Decode) -> ActionClassifier:
    """The classifier for the text encoder `words` of the model called `name`, loaded from `path` or trained (see
    `kept`); in `runtime` for the next time."""
    if path is None:
        return runtime.shared(("zone-actions", name), lambda: kept(words))
    return runtime.shared(("zone-actions", name, path, decode), lambda: loaded(words, Path(path), decode))


def _layers(network: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    return cast(nn.Linear, network[0]), cast(nn.Linear, network[2])


def _network(dim: int, generator: torch.Generator) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Linear(dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(ACTIONS)))
    with torch.no_grad():
        for layer in _layers(network):
            bound = layer.in_features**-0.5
            for parameter in (layer.weight, layer.bias):
                parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    return network

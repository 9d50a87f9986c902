"""A vision-language model of transformers: a conversation with pictures in, the model's words out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.chat.picture import Picture
from gas.chat.replies import Reply, Token
from gas.errors import ModelUnavailable, OutOfMemory
from gas.preview import Message
from gas.remedies import Option, Remedy, Setting, install

if TYPE_CHECKING:
    import torch

    from gas.runtime import Runtime

SUGGESTED = "Qwen/Qwen3-VL-2B-Instruct"
"""A small model that sees, under Apache-2.0."""


@dataclass(frozen=True)
class VisionLanguageNetwork:
    """A frozen network with the processor of texts and pictures that belongs to it."""

    name: str
    network: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, runtime: Runtime) -> VisionLanguageNetwork:
        """The model that `gas.models.manifest.resolve_model` understands, on the runtime's device in its format.

        ModelUnavailable (6): missing packages or files, another kind of model, no chat template. No code of the model
        is run.
        """
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise ModelUnavailable(
                f"transformers needs the Python package {error.name or 'transformers'!r}, which is missing",
                install("gas-edit[diffusion]"),
            ) from None
        from gas.models.pretrained import load_network, loading, model_folder

        folder = model_folder(model, config=None)
        _check_kind(model, folder)
        try:
            with loading(model):
                processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        except ImportError as error:  # many processors take videos too, by torchvision
            first = " ".join(str(error).split())[:200]
            raise ModelUnavailable(f"{model} needs another Python package: {first}", install("torchvision")) from None
        if getattr(processor, "image_processor", None) is None or not getattr(processor, "chat_template", None):
            lacking = "chat template" if getattr(processor, "image_processor", None) else "processor of pictures"
            raise ModelUnavailable(
                f"{model} has no {lacking}",
                Remedy("chat_model", "name a model to chat with, e.g. {model}", model=_A_MODEL),
            )
        device, dtype = runtime.torch_device(), runtime.torch_dtype()
        network = load_network(AutoModelForImageTextToText, folder, model, device, dtype)
        return cls(model, network, processor, device)

    def say(
        self,
        messages: Sequence[Message],
        pictures: Sequence[Picture] = (),
        *,
        max_tokens: int,
        seconds: float,
        temperature: float = 0.0,
        seed: int = 0,
        think: bool = False,
        likeliest: int = 0,
    ) -> Reply | None:
        """What the model says next; None when it had not finished after `seconds`.

        At `temperature` 0 it takes the most probable token each time, else it draws, repeatably by `seed`. Tokens come
        with their log-probabilities when `likeliest` of them are asked for. OutOfMemory (7) when memory is short.
        """
        import torch

        from gas.diffusion.memory import memory_named

        with torch.no_grad(), memory_named(self._too_large), _seeded(seed, self.device):
            inputs = self._inputs(messages, pictures, think)
            prompt = int(inputs["input_ids"].shape[1])
            end = time.monotonic() + seconds
            greedy = {"temperature": None, "top_p": None, "top_k": None}
            out = self.network.generate(
                **inputs,
                max_new_tokens=min(max_tokens, self._room(prompt)),
                do_sample=temperature > 0,
                stopping_criteria=[
                    lambda ids, scores: torch.full((len(ids),), time.monotonic() > end, device=ids.device)
                ],
                return_dict_in_generate=True,
                output_logits=likeliest > 0,
                **({"temperature": temperature} if temperature else greedy),
            )
        written = out.sequences[0, prompt:].tolist()
        ended = bool(written) and written[-1] in self._ends()
        if not ended and time.monotonic() > end:
            return None
        said = written[: -1 if ended else None]
        return Reply(
            text=self._text(said),
            model=self.name,
            prompt_tokens=prompt,
            reply_tokens=len(written),
            cut=not ended,
            tokens=self._tokens(said, out.logits, likeliest) if likeliest else (),
        )

    def _inputs(self, messages: Sequence[Message], pictures: Sequence[Picture], think: bool) -> Any:
        """The network's inputs, on its device. A template that knows no system's role gets its text with the user's."""
        from jinja2 import TemplateError

        from gas.models.pretrained import loading

        for said in (messages, _without_system(messages)):
            conversation = [{"role": m.role, "content": _content(m, pictures)} for m in said]
            try:
                with loading(self.name):
                    inputs = self.processor.apply_chat_template(
                        conversation,
                        add_generation_prompt=True,
                        tokenize=True,
                        return_dict=True,
                        return_tensors="pt",
                        enable_thinking=think,
                    )
            except TemplateError as error:
                refused = " ".join(str(error).split())[:200]
                continue
            return inputs.to(self.device, dtype=self.network.dtype)
        raise ModelUnavailable(
            f"the chat template of {self.name} refuses the conversation: {refused}",
            Remedy("chat_model", "name another model, e.g. {model}", model=_A_MODEL),
        )

    def _room(self, prompt: int) -> int:
        """Tokens that fit beside a prompt of that length. ModelUnavailable (6) when none do."""
        limit = getattr(self.network.config.get_text_config(), "max_position_embeddings", None) or 2**31
        if prompt >= limit:
            raise ModelUnavailable(
                f"the question is {prompt} tokens long, and {self.name} holds {limit}",
                Remedy("longer_context", "name a model with a longer context, e.g. {model}", model=_A_MODEL),
            )
        return int(limit - prompt)

    def _ends(self) -> set[int]:
        found = self.network.generation_config.eos_token_id
        return set(found) if isinstance(found, list) else {found}

    def _text(self, tokens: Sequence[int]) -> str:
        # Special tokens stay: some models mark their thoughts by them.
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=False))

    def _tokens(self, said: Sequence[int], logits: Sequence[Any], likeliest: int) -> tuple[Token, ...]:
        found = []
        for token, row in zip(said, logits, strict=False):  # the end has a row too
            logprobs = row[0].float().log_softmax(-1)
            best, ids = logprobs.topk(min(likeliest, len(logprobs)))
            pairs = zip((self._text([one]) for one in ids.tolist()), best.tolist(), strict=True)
            found.append(Token(self._text([token]), float(logprobs[token]), tuple(pairs)))
        return tuple(found)

    def _too_large(self) -> OutOfMemory:
        return OutOfMemory(
            f"not enough memory for an answer of {self.name}",
            Remedy(
                "smaller_model",
                "name a smaller model with {model}, send a smaller picture, or use {dtype}",
                model=Option({"model": "NAME"}),
                dtype=Setting("dtype", "bf16"),
            ),
        )


_A_MODEL = Option({"model": SUGGESTED})


def _check_kind(model: str, folder: Path) -> None:
    """ModelUnavailable (6) for a model that transformers does not know to take pictures and write text."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as SEEING

    advice = Remedy("model_that_sees", "name one that does, e.g. {model}", model=_A_MODEL)
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ModelUnavailable(f"{model} has no readable config.json, so nothing says that it sees", advice) from None
    if kind not in SEEING:
        raise ModelUnavailable(
            f"{model} is of the kind {str(kind)[:60]!r}, which does not take pictures and write text", advice
        )


def _content(message: Message, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """A message's content as chat templates want it, pictures first."""
    from PIL import Image

    shown = [Image.open(BytesIO(picture.data)).convert("RGB") for picture in pictures if message.with_picture]
    return [*({"type": "image", "image": image} for image in shown), {"type": "text", "text": message.text}]


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The conversation without a system's message: its text begins the user's first."""
    first, *others = messages
    if first.role != "system" or not others:
        return list(messages)
    user, *rest = others
    return [Message(user.role, f"{first.text}\n\n{user.text}", user.with_picture), *rest]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within it random numbers come from `seed`; the process' own are afterwards what they were."""
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

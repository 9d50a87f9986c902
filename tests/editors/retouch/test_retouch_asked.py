"""What a subtask asks of the retoucher, from plans by hand, by rules and by models."""

import pytest

from gas.picture.tone import TONES
from gas.types import Subtask
from gas_editors.retouch.asked import EFFECTS, Affected, Recolour, Removed, Toned, Unknown, asked


def change(source: str, target: str, **more: object) -> Subtask:
    return Subtask(source=source, target=target, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subtask", "target", "source"),
    [
        (change("a red cup", "a blue cup"), "blue", "red"),
        (change("a red cup", "a blue cup", attribute="colour"), "blue", "red"),
        (change("a cup", "a blue cup"), "blue", None),
        (change("a cup", "a blue cup", where="outside", attribute="colour"), "blue", None),
        (change("a red cup", "a blue picture", where="outside", attribute="colour"), "blue", None),
        (change("a dress", "a golden dress", attribute="material"), "golden", None),
        (change("a red car", "a darker red car", attribute="colour"), "darker red", "red"),
        (change("a sky", "a bluer sky", attribute="colour"), "bluer", None),
        (change("a red and white cup", "a blue cup", attribute="colour"), "blue", None),
    ],
)
def test_another_colour(subtask: Subtask, target: str, source: str | None) -> None:
    found = asked(subtask)
    assert isinstance(found, Recolour)
    assert found.target.name == target
    assert (found.source.name if found.source else None) == source


@pytest.mark.parametrize(
    ("subtask", "tone"),
    [
        (change("a sky", "a darker sky", attribute="tone"), "darker"),
        (change("a sky", "a darker sky"), "darker"),
        (change("a red wall", "a warmer red wall", attribute="tone"), "warmer"),
        (change("", "a black and white picture", attribute="tone", where="picture"), "black and white"),
        (change("", "a picture with more contrast", where="picture"), "more contrast"),
        (change("a balloon", "a black and white picture", where="outside"), "black and white"),
        (change("a cat", "a black and white cat", attribute="colour"), "black and white"),
        (change("flowers", "more saturated flowers", attribute="tone"), "more saturated"),
        (change("a photo", "a washed-out photo"), "faded"),
    ],
)
def test_a_tone(subtask: Subtask, tone: str) -> None:
    assert asked(subtask) == Toned(tone)  # type: ignore[arg-type]


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect(effect: str) -> None:
    assert asked(change("a face", f"a {effect} face", attribute="effect")) == Affected(effect)  # type: ignore[arg-type]
    assert asked(change("a face", f"a {effect} face")) == Affected(effect)  # type: ignore[arg-type]


@pytest.mark.parametrize("tone", TONES)
def test_every_tone_can_be_asked_for(tone: str) -> None:
    assert asked(change("", f"a {tone} picture", attribute="tone", where="picture")) == Toned(tone)  # type: ignore[arg-type]


def test_removal() -> None:
    assert asked(Subtask(action="remove", source="a spot")) == Removed()


@pytest.mark.parametrize(
    "subtask",
    [
        change("a dog", "a tiger", attribute="kind"),
        change("a dog", "a tiger"),
        change("a red car", "a blue house"),
        change("a red car", "a blue house", attribute="kind"),
        change("a dark dog", "a bright tiger"),
        change("a table", "a wooden table", attribute="material"),
        change("a sky", "a sunset sky", attribute="tone"),
        change("a face", "a smiling face", attribute="effect"),
        Subtask(action="add", target="a red hat", anchor="a man"),
        change("a cup", "a red and blue cup", attribute="colour"),
    ],
)
def test_what_needs_a_model(subtask: Subtask) -> None:
    assert asked(subtask) is None


def test_an_unknown_colour_has_near_names() -> None:
    found = asked(change("a cup", "a turqoise cup", attribute="colour"))
    assert isinstance(found, Unknown) and found.word == "turqoise" and found.nearest[0] == "turquoise"

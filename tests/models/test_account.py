"""Weights and words that are not what a network needs are refused, whoever has loaded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gas.errors import ModelUnavailable
from gas.models.account import check_vocabulary, check_weights
from gas.testing.tiny import build_byte_tokenizer

REPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"missing_keys": ["b.weight", "a.weight"]}, "m: 2 of its weights are missing, such as a.weight"),
    "unexpected": ({"unexpected_keys": ["a.weight"]}, "m: the network has no place for 1 weight, such as a.weight"),
    "prefix": (
        {"missing_keys": ["a.bias"], "unexpected_keys": ["model.net.a.bias"]},
        "m: the weights have other names than the network's: 'model.net.a.bias' stands for 'a.bias'",
    ),
    "shapes": (
        {"mismatched_keys": [("a.weight", (3, 2), (3, 4))]},
        "m: 1 of its weights have another shape than the network's: a.weight (3x2 and 3x4)",
    ),
    "sentences": ({"error_msgs": ["size mismatch\nmore"]}, "m: the weights do not fit: size mismatch"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_what_a_loader_was_told_is_refused(name: str) -> None:
    report, message = REPORTS[name]
    with pytest.raises(ModelUnavailable) as caught:
        check_weights(report, "m")
    assert caught.value.message == message and caught.value.exit_code == 6 and caught.value.remedy


def test_what_networks_make_anew_may_be_there_or_not() -> None:
    check_weights({"unexpected_keys": ["text.position_ids", "norm.num_batches_tracked"]}, "m")
    check_weights({"missing_keys": ["text.position_ids"], "mismatched_keys": set(), "error_msgs": []}, "m")
    check_weights({}, "m")


def test_the_other_half_may_be_there_where_the_loader_says_so() -> None:
    check_weights({"unexpected_keys": ["vision.a"]}, "m", unused=("vision.",))
    with pytest.raises(ModelUnavailable, match=r"such as text\.b"):
        check_weights({"unexpected_keys": ["text.b", "vision.a"]}, "m", unused=("vision.",))


def test_a_tokenizer_must_know_words_and_no_more_than_the_network(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    build_byte_tokenizer(tmp_path)
    tokenizer: Any = CLIPTokenizer.from_pretrained(tmp_path)
    check_vocabulary(tokenizer, "m")
    check_vocabulary(tokenizer, "m", 514)
    with pytest.raises(ModelUnavailable, match="tokens up to number 513, its text encoder 513"):
        check_vocabulary(tokenizer, "m", 513)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match="knows no words"):
        check_vocabulary(CLIPTokenizer.from_pretrained(tmp_path), "m")

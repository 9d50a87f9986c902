"""Error bodies of every shape show their message, and what they are about is told from their wording."""

from __future__ import annotations

import json

import pytest

from gas.chat.complaints import about_length, about_login, about_model, about_part, about_pictures, message_of

EXTRA = {"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}
PLACED = "body.max_completion_tokens: Extra inputs are not permitted"
SHAPES = {
    "OpenAI": ({"error": {"message": "no such thing", "type": "x", "param": None, "code": None}}, "no such thing"),
    "LM Studio, xAI": ({"error": "no such thing", "code": "invalid"}, "no such thing"),
    "Gemini": ([{"error": {"code": 400, "message": "no such thing", "status": "INVALID_ARGUMENT"}}], "no such thing"),
    "Anthropic": ({"type": "error", "error": {"type": "x", "message": "no such thing"}}, "no such thing"),
    "older vLLM": ({"object": "error", "message": "no such thing", "type": "BadRequestError"}, "no such thing"),
    "FastAPI": ({"detail": "Not Found"}, "Not Found"),
    "FastAPI's list": ({"detail": [EXTRA]}, PLACED),
    "Mistral": ({"object": "error", "message": {"detail": [EXTRA]}, "type": "invalid_request_error"}, PLACED),
    "older Mistral": ({"object": "error", "message": json.dumps({"detail": [EXTRA]})}, PLACED),
    "a list alone": ([EXTRA], PLACED),
    "two sentences": ({"statusCode": 400, "error": "Bad Request", "message": "no such thing"}, "no such thing"),
    "a list of sentences": ({"errors": ["first", "second"]}, "first; second"),
    "OpenRouter": (
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"no such thing"}}'}}},
        "Provider returned error: no such thing",
    ),
    "JSON in a string": (json.dumps({"error": {"message": "no such thing"}}), "no such thing"),
    "text": ("no such thing", "no such thing"),
    "bytes": (b"no such thing", "no such thing"),
    "lines": ("no\nsuch\x1b[31m thing", "no such [31m thing"),
    "HTML": ("<html><head><title>502 Bad Gateway</title></head></html>", 'an HTML page, "502 Bad Gateway"'),
    "HTML without a title": ("<!DOCTYPE html><html></html>", "an HTML page"),
    "HTML with a heading": ("<html><body><h1 class='x'>Bad Gateway</h1></body></html>", 'an HTML page, "Bad Gateway"'),
    "a text in a message": ({"message": {"text": "no such thing"}}, "no such thing"),
    "a gateway": ({"error_message": "no such thing"}, "no such thing"),
    "HTML in JSON": ({"error": "<html><title>x</title></html>"}, "an HTML page"),
    "long": ({"error": "x" * 5000}, "x" * 300),
}
SILENT = [None, 7, {}, [], {"error": {}}, {"error": None}, {"message": 3}, "", "   ", "[" * 200_000, "{" * 9, True]
DEEP = json.loads('{"error":' * 50 + '"deep"' + "}" * 50)


@pytest.mark.parametrize(("body", "words"), SHAPES.values(), ids=SHAPES)
def test_the_message_is_shown(body, words):
    said = message_of(body)
    assert words in said and said.isprintable() and len(said) <= 300


@pytest.mark.parametrize("body", [*SILENT, DEEP], ids=range(len(SILENT) + 1))
def test_what_says_nothing(body):
    assert message_of(body) == ""


NO_PICTURES = [
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    "facebook/opt-125m is not a multimodal model None",
    "Model does not support images. Please use a model that does.",
    "No endpoints found that support image input",
    "Invalid content type. image_url is only supported by certain models.",
    "Failed to deserialize the JSON body into the target type: unknown variant `image_url`, expected `text`",
    "Failed to deserialize the JSON body into the target type: messages[2]: invalid type: sequence, expected a string",
    "messages[1]: data did not match any variant of untagged enum ChatCompletionRequestContent at line 1",
    'Failed to parse messages: Unsupported content part type: "image_url"; messages = [',
    "this model does not support image input (ref: b8bd630e)",
    "this model is missing data required for image input",
    'can only concatenate str (not "list") to str',
    "At most 0 image(s) may be provided in one prompt.",
    "json: cannot unmarshal array into Go struct field Message.messages.content of type string",
    "messages[0].content must be a string",
    "Image input modality is not enabled for models/gemma-3-1b-it",
]
THIS_PICTURE = [
    "Image too large: at most 5 MB are supported",
    "unsupported image format: webp is not supported",
    "image exceeds 5 MB maximum",
    "Could not process image",
    "Invalid base64 image_url.",
    "Failed to parse grammar",
    "'response_format.type' must be 'json_object' or 'text'",
    "This model does not support response_format json_schema",
]


@pytest.mark.parametrize("text", NO_PICTURES)
def test_a_service_that_takes_no_pictures(text):
    assert about_pictures(text)


@pytest.mark.parametrize("text", THIS_PICTURE)
def test_complaints_about_something_else(text):
    assert not about_pictures(text)


def test_a_refused_key():
    assert about_login("", 401) and about_login("forbidden", 403)
    assert about_login("API key not valid. Please pass a valid API key.", 400)
    assert about_login("Incorrect API key provided", 400)
    assert not about_login("your input was flagged by moderation", 403)
    assert not about_login("API key", 500) and not about_login("bad request", 400)


def test_a_model_that_is_not_there():
    for text in (
        "The model `x` does not exist or you do not have access to it.",
        "healer-alpha is not a valid model ID",
        "models/x is not found for API version v1main",
        "model 'x' not found",
    ):
        assert about_model(text)
    assert not about_model("This model does not support response_format json_schema")


def test_a_request_that_is_too_long():
    assert about_length("the request exceeds the available context size, try increasing it")
    assert about_length("This model's maximum context length is 8192 tokens.")
    assert not about_length("Failed to parse grammar")


@pytest.mark.parametrize(
    ("text", "param", "part"),
    [
        ("no", "response_format.json_schema", "response_format"),
        ("no", "max_completion_tokens", "max_completion_tokens"),
        ("Unknown name 'additionalProperties' at 'generation_config.response_schema'", None, "response_format"),
        ("Failed to parse grammar", None, "response_format"),
        ("top_logprobs must be at most 5", None, "logprobs"),
        ("body.max_completion_tokens: Extra inputs are not permitted", None, "max_completion_tokens"),
        ("'temperature' does not support 0.3", "temperature", "temperature"),
        ("Bad Request", None, None),
    ],
)
def test_the_part_that_is_complained_of(text, param, part):
    sent = ("model", "messages", "max_completion_tokens", "response_format", "logprobs", "temperature")
    assert about_part(text, param, sent) == part

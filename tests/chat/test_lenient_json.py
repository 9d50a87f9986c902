"""JSON as models write it: what is JSON or Python is read as such, and every bound holds."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gas.chat.lenient_json import MAX_TEXT, Unreadable, objects_in, value_at

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


@given(json_values)
def test_reads_json_as_json_does(value):
    wrapped = {"k": value}
    try:
        assert objects_in(json.dumps(wrapped)) == [wrapped]
        assert objects_in(json.dumps(wrapped, ensure_ascii=False)) == [wrapped]
    except Unreadable as error:
        assert "deeper" in str(error)


@given(json_values)
def test_reads_python_as_python_does(value):
    text = repr([value])
    try:
        read, end = value_at(text)
    except Unreadable:
        return  # Python's repr has escapes and apostrophes that are not certain
    assert end == len(text)
    assert read == ast.literal_eval(text)


def test_the_longest_text_that_is_read():
    with pytest.raises(Unreadable, match="at most"):
        objects_in(" " * (MAX_TEXT + 1))
    assert objects_in(" " * (MAX_TEXT - 2) + "{}") == [{}]

"""Keys: the environment first, then a file that only its owner may read; and never shown."""

from __future__ import annotations

import os
import stat
import traceback

import pytest
from planner_cases import CANARY

from gas.errors import UsageError
from gas.settings import keys

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


@pytest.fixture
def env(tmp_path):
    return {"GAS_HOME": str(tmp_path / "home")}


def test_nothing_is_there(env):
    assert keys.find("openai", env) is None
    assert keys.origin("openai", env) is None
    assert keys.names(env) == []
    assert not keys.keys_file(env).exists()


def test_set_find_remove(env):
    path = keys.set("openai", f"  {CANARY}\n", env)
    assert path == keys.keys_file(env)
    assert keys.find("openai", env).get_secret_value() == CANARY
    assert keys.origin("openai", env) == str(path)
    keys.set("open-router", "sk-2", env)
    keys.set("openai", "sk-3", env)
    assert keys.names(env) == ["open-router", "openai"]
    keys.remove("openai", env)
    assert keys.find("openai", env) is None and keys.find("open-router", env).get_secret_value() == "sk-2"
    with pytest.raises(UsageError, match="no key"):
        keys.remove("openai", env)


@posix
def test_only_the_owner_may_read_the_file_whatever_the_umask(env):
    old = os.umask(0)
    try:
        path = keys.set("openai", CANARY, env)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused(env, mode):
    path = keys.set("openai", CANARY, env)
    path.chmod(mode)
    with pytest.raises(UsageError, match="others") as caught:
        keys.find("openai", env)
    assert f"chmod 600 {path}" in caught.value.remedy and CANARY not in str(caught.value)
    path.chmod(0o600)
    assert keys.find("openai", env) is not None


def test_the_environment_comes_first(env):
    keys.set("openai", "sk-file", env)
    env["OPENAI_API_KEY"] = "sk-environment"
    assert keys.find("openai", env).get_secret_value() == "sk-environment"
    assert keys.origin("openai", env) == "$OPENAI_API_KEY"
    env["OPENAI_API_KEY"] = "  "
    assert keys.find("openai", env).get_secret_value() == "sk-file"
    assert keys.variable("open-router") == "OPEN_ROUTER_API_KEY"


@pytest.mark.parametrize(
    "value", ["", "  ", "two words", 'quo"te', "back\\slash", "nül", "tab\tbed", "x" * 5000, "a\r\nHost: b"]
)
def test_what_is_no_key(env, value):
    with pytest.raises(UsageError) as caught:
        keys.set("openai", value, env)
    assert value.strip() == "" or value not in str(caught.value)
    assert not keys.keys_file(env).exists()


@pytest.mark.parametrize("name", ["", "OpenAI", "../x", "a b", "-x", CANARY.upper(), "x" * 41, "a--b"])
def test_what_is_no_name_is_refused_and_not_shown(env, name):
    with pytest.raises(UsageError) as caught:
        keys.set(name, "sk-1", env)
    assert len(name) < 5 or name not in str(caught.value)  # it may be the key, typed in the wrong place


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"openai": 1}', b'{"../x": "a"}', b"\xff\xfe", b"[" * 90_000, b" " * 200_000]
)
def test_a_file_that_is_none(env, content):
    path = keys.set("openai", CANARY, env)
    path.write_bytes(content + CANARY.encode() if content.startswith(b"{") and content != b"{" else content)
    with pytest.raises(UsageError, match="not a key file") as caught:
        keys.find("openai", env)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_key_does_not_show_itself(env):
    keys.set("openai", CANARY, env)
    key = keys.find("openai", env)
    assert CANARY not in f"{key} {key!r} {[key]}"


def test_redact():
    from pydantic import SecretStr

    assert keys.redact(f"a {CANARY} b {CANARY}", [SecretStr(CANARY), SecretStr("")]) == "a [key] b [key]"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write|cannot be read"):
        keys.set("openai", CANARY, {"GAS_HOME": str(tmp_path / "file")})

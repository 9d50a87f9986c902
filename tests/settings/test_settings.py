from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gas import Profile
from gas.errors import UsageError
from gas.settings.settings import Settings, Values, environment_typos
from gas_shell.words import setting_words

PROFILES = {
    "diorama": Profile(name="diorama", editor="ground-a-score", options={"dds": {"steps": 1, "w": 1}}),
    "sd15": Profile(name="sd15", editor="cds", planner="openai", options={"dds": {"steps": 2, "model": "hub/sd15"}}),
}


def default(model: str | None) -> tuple[str, str]:
    return "diorama", "default"


class Place:
    """A current folder and a home for settings, with what is written in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "work", folder / "home"
        self.folder.mkdir()
        self.home.mkdir()

    def load(self, *, project: str = "", user: str = "", env: Mapping[str, str] = {}, **flags: Any) -> Settings:
        for path, text in ((self.folder / "gas.toml", project), (self.home / "config.toml", user)):
            path.unlink(missing_ok=True)
            if text:
                path.write_text(text)
        return Settings.load(
            flags,
            find_profile=lambda name: PROFILES[name] if name in PROFILES else Profile.from_toml(name),
            environ={"GAS_HOME": str(self.home), **env},
            folder=self.folder,
            default_profile=default,
            written=setting_words,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_defaults(place: Place) -> None:
    settings = place.load()
    assert (settings.profile.name, settings.planner, settings.editor) == ("diorama", "auto", "ground-a-score")
    assert (settings.device, settings.dtype, settings.seed, settings.offline) == ("auto", "auto", None, False)
    assert settings.memory == "auto"
    assert settings.origin("device") == settings.origin("seed") == settings.origin("profile") == "default"
    assert settings.origin("editor") == "profile diorama"


def test_who_has_chosen_no_profile_gets_what_is_proposed_and_why(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    environ = {"GAS_HOME": str(tmp_path / "home")}

    def load(flags: dict[str, Any], env: Mapping[str, str] = {}) -> Settings:
        return Settings.load(
            flags,
            find_profile=PROFILES.__getitem__,
            environ={**environ, **env},
            folder=tmp_path,
            default_profile=lambda model: ("sd15", "default, since it is here"),
        )

    settings = load({})
    assert (settings.profile.name, settings.origin("profile")) == ("sd15", "default, since it is here")
    assert (settings.editor, settings.origin("editor")) == ("cds", "profile sd15")
    assert not settings.said_by_user("profile") and not settings.said_by_user("planner")
    assert load({"profile": "diorama"}).origin("profile") == "profile"
    assert load({}, {"GAS_PROFILE": "diorama"}).profile.name == "diorama"
    (tmp_path / "home" / "config.toml").write_text("profile = 'diorama'")
    assert load({}).profile.name == "diorama"
    (tmp_path / "home" / "config.toml").write_text("editor = 'dds'")
    assert load({}).editor == "dds", "a file lies above a profile that nobody chose"
    (tmp_path / "gas.toml").write_text("profile = 'diorama'")
    assert load({}).profile.name == "diorama"
    of = Settings.of({}, find_profile=PROFILES.__getitem__, default_profile=lambda model: ("sd15", "why"))
    assert (of.profile.name, of.origin("profile")) == ("sd15", "why")
    with pytest.raises(UsageError, match="no profile is chosen"):
        Settings.of({}, find_profile=PROFILES.__getitem__)


LAYERS = ("default", "user", "project", "env", "flag")


@pytest.mark.parametrize("highest", LAYERS[1:])
def test_each_layer_wins_over_those_below(highest: str, place: Place) -> None:
    given: dict[str, Any] = {}
    below = LAYERS[1 : LAYERS.index(highest) + 1]
    if "user" in below:
        given["user"] = "device = 'mps'\ndtype = 'fp32'\nseed = 1\nplanner = 'user'"
    if "project" in below:
        given["project"] = "device = 'cuda'\nseed = 2\nplanner = 'project'"
    if "env" in below:
        given["env"] = {"GAS_DEVICE": "cuda:1", "GAS_SEED": "3", "GAS_PLANNER": "env"}
    if "flag" in below:
        given |= {"device": "cpu", "seed": 4, "planner": "flag"}
    settings = place.load(**given)
    expected = {
        "user": ("mps", 1, "user", str(place.home / "config.toml")),
        "project": ("cuda", 2, "project", str(place.folder / "gas.toml")),
        "env": ("cuda:1", 3, "env", "GAS_DEVICE"),
        "flag": ("cpu", 4, "flag", "--device"),
    }[highest]
    assert (settings.device, settings.seed, settings.planner, settings.origin("device")) == expected
    assert (settings.dtype, settings.origin("dtype")) == ("fp32", str(place.home / "config.toml"))


@pytest.mark.parametrize(("given", "editor", "origin"), [
    ({"profile": "sd15", "project": "editor = 'dds'"}, "cds", "profile sd15"),
    ({"env": {"GAS_PROFILE": "sd15"}, "project": "editor = 'dds'"}, "cds", "profile sd15"),
    ({"profile": "sd15", "env": {"GAS_EDITOR": "sds"}}, "sds", "GAS_EDITOR"),
    ({"env": {"GAS_PROFILE": "sd15", "GAS_EDITOR": "sds"}}, "sds", "GAS_EDITOR"),
    ({"profile": "sd15", "editor": "sds"}, "sds", "--editor"),
    ({"project": "profile = 'sd15'\neditor = 'dds'"}, "dds", "gas.toml"),
    ({"project": "profile = 'sd15'", "user": "editor = 'dds'"}, "cds", "profile sd15"),
    ({"user": "profile = 'sd15'\neditor = 'dds'"}, "dds", "config.toml"),
    ({"user": "editor = 'dds'"}, "dds", "config.toml"),
])  # fmt: skip
def test_place_of_the_profile(given: dict[str, Any], editor: str, origin: str, place: Place) -> None:
    settings = place.load(**given)
    assert settings.editor == editor
    assert settings.origin("editor").endswith(origin)


def test_options_come_in_layers(place: Place) -> None:
    settings = place.load(
        user="[options.dds]\nw = 5\nt = 5",
        project="model = 'local'\n[options.dds]\nsteps = 9\n[options.cds]\nsteps = 8",
        env={"GAS_MODEL": "env/model"},
        options={"dds": {"steps": "10"}},
        profile="sd15",
    )
    layers = settings.option_layers("editors", "dds")
    assert [(Path(layer.origin).name, dict(layer.values)) for layer in layers] == [
        ("config.toml", {"w": 5, "t": 5}),
        ("gas.toml", {"steps": 9, "model": "local"}),
        ("profile sd15", {"steps": 2, "model": "hub/sd15"}),
        ("GAS_MODEL", {"model": "env/model"}),
        ("-o", {"steps": "10"}),
    ]
    assert all("model" not in layer.values for layer in settings.option_layers("planners", "openai"))


def test_model_flag_is_the_editors_option_beneath_an_explicit_one(place: Place) -> None:
    settings = place.load(model="a", options={"dds": {"model": "b"}})
    assert settings.option_layers("editors", "dds")[-1].values == {"model": "b"}
    assert place.load(model="a").option_layers("editors", "x")[-1].origin == "--model"
    both = place.load(model="a", options={"x": {"steps": "3"}}).option_layers("editors", "x")[-2:]
    assert [(one.origin, one.values) for one in both] == [("--model", {"model": "a"}), ("-o", {"steps": "3"})]


def test_environment_forms(place: Place) -> None:
    assert place.load(env={"GAS_GROUNDERS": " a, b "}).grounders == ("a", "b")
    assert place.load(env={"GAS_GROUNDERS": "none"}, project="grounders = ['a']").grounders == ()
    assert place.load(project="grounders = ['a']").grounders == ("a",)
    assert place.load(env={"GAS_DEVICE": " "}).device == "auto"
    for text, value in (("1", True), ("yes", True), ("0", False)):
        assert place.load(env={"GAS_OFFLINE": text}).offline is value
    hub = place.load(env={"HF_HUB_OFFLINE": "1"})
    assert (hub.offline, hub.origin("offline")) == (True, "HF_HUB_OFFLINE")
    assert place.load(env={"HF_HUB_OFFLINE": "1", "GAS_OFFLINE": "0"}).origin("offline") == "GAS_OFFLINE"


def test_grounded_can_be_set_everywhere(place: Place) -> None:
    assert (place.load().grounded, place.load().origin("grounded")) == (False, "default")
    assert place.load(user="grounded = true").grounded
    assert place.load(user="grounded = true", project="grounded = false").grounded is False
    assert place.load(project="grounded = true", env={"GAS_GROUNDED": "no"}).grounded is False
    assert place.load(env={"GAS_GROUNDED": "1"}).origin("grounded") == "GAS_GROUNDED"
    assert place.load(env={"GAS_GROUNDED": "1"}, grounded=False).grounded is False
    assert place.load(grounded=True).origin("grounded") == "--grounded"
    (place.folder / "mine.toml").write_text("editor = 'dds'\ngrounded = true")
    of = place.load(profile=str(place.folder / "mine.toml"))
    assert (of.grounded, of.origin("grounded")) == (True, "profile mine")
    plain = Settings.of({"profile": str(place.folder / "mine.toml")}, find_profile=Profile.from_toml)
    assert (plain.grounded, plain.origin("grounded")) == (True, "profile mine")
    with pytest.raises(UsageError, match="GAS_GROUNDED"):
        place.load(env={"GAS_GROUNDED": "perhaps"})


@pytest.mark.parametrize(("given", "message"), [
    ({"project": "device = \n"}, r"gas.toml: malformed TOML: .*line 1"),
    ({"user": "a = 1\n[x\n"}, r"config.toml: malformed TOML: .*line 2"),
    ({"user": "a = '"}, r"config.toml: malformed TOML: .*line 1"),
    ({"project": "a = " + "[" * 100_000}, r"gas.toml: malformed TOML"),
    ({"project": "edtor = 'dds'"}, r"gas.toml: unknown setting 'edtor'; did you mean 'editor'\?"),
    ({"project": "device = 'gpu'"}, r"gas.toml: device: .*, not 'gpu'"),
    ({"project": "seed = -1"}, r"gas.toml: seed: .*greater than or equal to 0, not -1"),
    ({"env": {"GAS_SEED": "x"}}, r"GAS_SEED: seed: .*, not 'x'"),
    ({"env": {"GAS_DTYPE": "int8"}}, r"GAS_DTYPE: dtype"),
    ({"env": {"GAS_MEMORY": "little"}}, r"GAS_MEMORY: memory: .*'auto', 'all', 'offload' or 'lowest', not 'little'"),
    ({"seed": 2**31}, r"--seed: seed"),
    ({"project": "[options]\nsteps = 3"}, r"gas.toml: options.steps"),
])  # fmt: skip
def test_mistakes_are_named_with_their_place(given: dict[str, Any], message: str, place: Place) -> None:
    with pytest.raises(UsageError, match=message):
        place.load(**given)


@pytest.mark.parametrize("key", [
    "api_key", "openai_api_key", "HF_TOKEN", "apiKey", "password", "options.openai.api-key", "options.x.secret",
])  # fmt: skip
@pytest.mark.parametrize("file", ["project", "user"])
def test_secrets_are_refused_without_showing_them(key: str, file: str, place: Place) -> None:
    with pytest.raises(UsageError, match="looks like a secret") as caught:
        place.load(**{file: f"{key} = 'CANARY'"})
    assert "CANARY" not in str(caught.value)
    assert "environment" in caught.value.remedy


def test_innocent_names_are_no_secrets(place: Place) -> None:
    place.load(user="[options.openai]\nmax_tokens = 5\nkeyed = 1")


def test_folder_may_not_choose_where_keys_and_pictures_go(place: Place) -> None:
    evil = "[options.openai]\nbase_url = 'http://evil'"
    with pytest.raises(UsageError, match=r"options.openai.base_url is the address of a service"):
        place.load(project=evil)
    profile = place.folder / "p.toml"
    profile.write_text(f"editor = 'dds'\n{evil}")
    with pytest.raises(UsageError, match="is the address of a service"):
        place.load(project=f"profile = '{profile}'")
    assert place.load(user=evil).option_layers("planners", "openai")
    assert place.load(profile=str(profile)).option_layers("planners", "openai")


def test_everything_can_be_described(place: Place) -> None:
    rows = place.load(user="planner = 'x'", seed=5).describe()
    described = {name: (value, origin) for name, value, origin in rows}
    assert described["planner"] == ("x", str(place.home / "config.toml"))
    assert described["seed"] == (5, "--seed")
    assert described["profile"] == ("diorama", "default")
    assert set(described) == set(Values.model_fields) - {"options"}


def test_typing_errors_in_the_environment() -> None:
    assert environment_typos({"GAS_EDTOR": "x", "GAS_EDITOR": "x", "GAS_HOME": "x", "GAS_PLUGINS": "x"}) == [
        "GAS_EDTOR is no setting; did you mean GAS_EDITOR?"
    ]
    assert environment_typos({"GAS_STATION_PRICE": "1"}) == []


def test_current_folder_is_the_default(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "gas.toml").write_text("seed = 77")
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("GAS_HOME", str(place.home))
    monkeypatch.delenv("GAS_SEED", raising=False)
    assert Settings.load({}, find_profile=PROFILES.__getitem__, default_profile=default).seed == 77


def test_folder_of_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gas.folders import config_folder

    assert config_folder({"GAS_HOME": str(tmp_path)}) == tmp_path
    assert config_folder({}).name == "gas"


def test_who_said_it_decides_what_may_leave_the_machine(tmp_path: Path) -> None:
    profile = Profile(name="p", planner="openai", editor="dds")

    def load(flags: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
        home = {"GAS_HOME": str(tmp_path / "home")}
        return Settings.load(
            flags,
            find_profile=lambda name: profile,
            environ={**home, **(environ or {})},
            folder=tmp_path,
            default_profile=default,
        )

    assert not load({}).said_by_user("planner")
    assert load({"planner": "openai"}).said_by_user("planner")
    assert load({}, {"GAS_PLANNER": "openai"}).said_by_user("planner")
    (tmp_path / "gas.toml").write_text('planner = "openai"\n')
    assert not load({}).said_by_user("planner")
    (tmp_path / "gas.toml").unlink()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text('planner = "openai"\n')
    assert load({}).said_by_user("planner")

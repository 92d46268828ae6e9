"""Where settings come from, which source goes before which, and what no file may do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abyme.cli.keys import endpoint
from abyme.config import OPTIONAL, ChildLimits, Limits
from abyme.errors import ConfigError
from abyme.settings import Loaded, Settings, configured_runs, load_settings, user_config_file
from abyme.settings_values import LIMITS, PRICES, SANDBOXES, TOP, as_toml

FOLDER = "./abyme.toml"


class Place:
    """A folder with an abyme.toml, and a user's file."""

    def __init__(self, tmp: Path) -> None:
        self.folder = tmp / "folder"
        self.folder.mkdir()
        self.local = self.folder / "abyme.toml"
        self.user = tmp / "home" / "abyme.toml"
        self.user.parent.mkdir()

    def load(self, local: str = "", user: str = "", **environ: str) -> Loaded:
        for path, text in ((self.local, local), (self.user, user)):
            if text:
                path.write_text(text, encoding="utf-8")
        return load_settings(environ, self.folder, self.user)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_nothing_configured_is_the_defaults(place: Place) -> None:
    loaded = place.load()
    assert loaded.settings == Settings() and loaded.settings.limits == Limits()
    assert (loaded.origins, loaded.files, loaded.warnings) == ({}, (), ())


def test_the_names_of_settings_are_those_that_are_checked() -> None:
    assert set(Settings.__struct_fields__) == {*TOP, "limits"}
    assert set(LIMITS) == set(Limits.__struct_fields__)
    assert not set(LIMITS) & set(TOP), "flags name both in one row"


VALUES: list[tuple[str, list[Any], list[str]]] = [
    ("model", ["one", "two", "three", "four"], ["model"]),
    ("sub_model", ["one", "two", "three", "four"], ["sub_model"]),
    ("price", [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0)], ["price"]),
    ("sub_price", [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0)], ["sub_price"]),
    ("exclude", [("a",), ("b", "c"), ("d",), ("e",)], ["exclude"]),
    ("max_cost", [1.5, 2.0, 3.0, 4.0], ["limits", "max_cost"]),
    ("max_calls", [10, 20, 30, 40], ["limits", "max_calls"]),
    ("cell_seconds", [10.0, 20.0, 30.0, 40.0], ["limits", "cell_seconds"]),
]


def written(name: str, value: Any) -> str:
    text = str(list(value)) if isinstance(value, tuple) else repr(value)
    return f"[limits]\n{name} = {text}\n" if name in LIMITS else f"{name} = {text}\n"


def exported(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, tuple):
        value = (os.pathsep if name == "exclude" else ",").join(map(str, value))
    return {f"ABYME_{name.upper()}": str(value)}


@pytest.mark.parametrize(("name", "values", "path"), VALUES, ids=lambda value: str(value))
@pytest.mark.parametrize("strongest", range(4))
@pytest.mark.parametrize("next_best", range(4))
def test_the_stronger_of_any_two_sources_counts(
    place: Place, name: str, values: list[Any], path: list[str], strongest: int, next_best: int
) -> None:
    used = {strongest, next_best}
    if next_best < strongest or (2 in used and name in PRICES):
        return
    loaded = place.load(
        local=written(name, values[2]) if 2 in used else "",
        user=written(name, values[3]) if 3 in used else "",
        **(exported(name, values[1]) if 1 in used else {}),
    )
    if 0 in used:
        loaded = loaded.over(**{name: values[0]})
    found: Any = loaded.settings
    for part in path:
        found = getattr(found, part)
    assert found == values[strongest]
    flag = f"--{name.replace('_', '-')}"
    origins = [flag, f"ABYME_{name.upper()}", FOLDER, str(place.user)]
    assert loaded.origin(name) == origins[strongest]


@pytest.mark.parametrize(
    ("user", "environ", "flag", "url", "origin"),
    [
        ("u", {}, "", "u", "user"),
        ("u", {"OPENAI_BASE_URL": "o"}, "", "o", "OPENAI_BASE_URL"),
        ("u", {"ABYME_BASE_URL": "a"}, "", "a", "ABYME_BASE_URL"),
        ("", {"ABYME_BASE_URL": "a", "OPENAI_BASE_URL": "o"}, "", "a", "ABYME_BASE_URL"),
        ("u", {"ABYME_BASE_URL": "a", "OPENAI_BASE_URL": "o"}, "f", "f", "--base-url"),
        ("u", {"OPENAI_BASE_URL": " ", "ABYME_BASE_URL": ""}, "", "u", "user"),
    ],
)
def test_the_base_url_has_an_order(
    place: Place, user: str, environ: dict[str, str], flag: str, url: str, origin: str
) -> None:
    loaded = place.load(user=f'base_url = "{user}"' if user else "", **environ).over(base_url=flag)
    assert loaded.settings.base_url == url
    assert loaded.origin("base_url") == (str(place.user) if origin == "user" else origin)


def test_sources_lie_over_each_other_value_by_value(place: Place) -> None:
    loaded = place.load(
        local='model = "two"\n[limits]\nmax_turns = 7',
        user='runs = "r"\nlocal_servers = []\n[limits]\nmax_turns = 9\nmax_width = 2\n'
        'max_seconds = "None"',
        ABYME_MAX_COST="none",
        ABYME_SUB_MODEL="small",
    ).over(model="", sub_model=None, exclude=[], max_width="3", call_seconds=9)
    assert loaded.settings == Settings(
        model="two",
        sub_model="small",
        runs="r",
        local_servers=(),
        limits=Limits(max_turns=7, max_seconds=None, max_cost=None, max_width=3, call_seconds=9),
    )
    assert loaded.files == (place.local, place.user)
    assert loaded.origin("max_turns") == FOLDER and loaded.origin("max_width") == "--max-width"
    assert loaded.origin("max_calls") == ""


def test_the_environments_lists(place: Place) -> None:
    loaded = place.load(
        ABYME_EXCLUDE=os.pathsep.join(["*.log", " build ", ""]),
        ABYME_LOCAL_SERVERS="http://127.0.0.1:1/v1, http://127.0.0.1:2/v1",
        ABYME_RUNS="/r",
    )
    assert loaded.settings.exclude == ("*.log", "build")
    assert loaded.settings.local_servers == ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    assert loaded.settings.runs == "/r"
    none = place.load(user='local_servers = ["http://h/v1"]', ABYME_LOCAL_SERVERS="")
    assert none.settings.local_servers == () and none.origin("local_servers")
    assert place.load(local='exclude = ["x"]', ABYME_EXCLUDE="").settings.exclude == ("x",)


def test_a_price_goes_with_its_model(place: Place) -> None:
    user = 'model = "m"\nprice = "1,2"\nsub_model = "s"\nsub_price = [3, 4]'
    loaded = place.load(user=user)
    assert (loaded.settings.price, loaded.settings.sub_price) == ((1.0, 2.0), (3.0, 4.0))
    other = loaded.over(model="other")
    assert (other.settings.price, other.settings.sub_price) == (None, (3.0, 4.0))
    assert other.origin("price") == ""
    assert loaded.over(sub_model="other").settings.sub_price is None
    assert loaded.over(model="other", price="5,6").settings.price == (5.0, 6.0)
    assert loaded.over(price="5,6").over(model="other").settings.price == (5.0, 6.0)
    assert place.load(user=user, ABYME_MODEL="other").settings.price is None
    assert place.load(user=user, ABYME_PRICE="0,0").settings.price == (0.0, 0.0)
    alone = place.load(user="sub_price = [3, 4]", ABYME_MODEL="other")
    assert alone.settings.sub_price is None
    folder = place.load(local='model = "other"', user='model = "m"\nprice = "1,2"')
    assert folder.settings.price is None, "the user's price is not for a stranger's model"


@pytest.mark.parametrize(
    ("name", "asked", "user", "counts"),
    [
        ("max_cost", "50", "", 5.0),
        ("max_cost", '"none"', "", 5.0),
        ("max_cost", "5", "", 5.0),
        ("max_cost", "2", "", 2.0),
        ("max_cost", "9", "10", 9.0),
        ("max_cost", "11", "10", 10.0),
        ("max_cost", "11", '"none"', 11.0),
        ("max_cost", '"NONE"', '"none"', None),
        ("max_tokens", "1_000_000", "", 1_000_000),
        ("max_tokens", '"none"', "7", 7),
        ("max_turns", "31", "", 30),
        ("max_width", "1000", "64", 64),
        ("call_seconds", "10.5", "", 10.5),
    ],
)
def test_a_folder_may_only_lower_limits(
    place: Place, name: str, asked: str, user: str, counts: float | None
) -> None:
    loaded = place.load(
        local=f"[limits]\n{name} = {asked}", user=f"[limits]\n{name} = {user}" if user else ""
    )
    assert getattr(loaded.settings.limits, name) == counts
    refused = loaded.origin(name) != FOLDER
    assert (name in loaded.unheeded) is refused
    assert loaded.origin(name) == (FOLDER if not refused else str(place.user) if user else "")
    assert loaded.over(**{name: "3"}).unheeded == {}, "the user has decided"
    assert place.load(**{f"ABYME_{name.upper()}": "4000"}).unheeded == {}


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ('base_url = "http://evil/v1"', "--base-url, ABYME_BASE_URL or in "),
        ('api_key = "sk-1"', "OPENAI_API_KEY, or in "),
        ('api_key_env = "HOME"', "OPENAI_API_KEY, or in "),
        ('price = "0,0"', "--price, ABYME_PRICE or in "),
        ("sub_price = [0, 0]", "--sub-price, ABYME_SUB_PRICE or in "),
        ('runs = "/tmp"', "--runs, ABYME_RUNS or in "),
        ("local_servers = []", "ABYME_LOCAL_SERVERS or in "),
        ("tools = []", "RLM(…, tools=[…]) from Python"),
        ("[sandbox]", "--sandbox, ABYME_SANDBOX or in "),
        ('sandbox = "process"', "--sandbox, ABYME_SANDBOX or in "),
        ('image = "evil"', "--image, ABYME_IMAGE or in "),
        ("redact = true", "--redact, ABYME_REDACT or in "),
        ("durable = true", "--durable, ABYME_DURABLE or in "),
    ],
)
def test_a_folder_may_not_set_what_is_the_users(place: Place, key: str, instead: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load(local=f'model = "m"\n{key}')
    name = key.strip("[").split()[0].rstrip("]")
    line = str(caught.value)
    assert line.startswith(f"./abyme.toml: {name} may not be set by a folder; set it with ")
    assert instead in line and "sk-1" not in line
    if instead.endswith("in "):
        assert str(place.user) in line


def test_switches_are_true_or_false(place: Place) -> None:
    assert place.load(user="redact = true\ndurable = false").settings.redact is True
    loaded = place.load(user="redact = true", ABYME_REDACT="no", ABYME_DURABLE="1")
    assert (loaded.settings.redact, loaded.settings.durable) == (False, True)
    assert loaded.over(redact=True, durable=None).settings.redact is True
    with pytest.raises(ConfigError, match="redact must be true or false, not a number"):
        place.load(user="redact = 3")
    with pytest.raises(ConfigError, match="ABYME_DURABLE must be true or false, not text"):
        place.load(user="redact = true", ABYME_DURABLE="maybe")


def test_models_of_children_are_a_list_wherever_they_are_named(place: Place) -> None:
    loaded = place.load(user='child_model = ["a", "b"]\nchild_price = "1,2"')
    assert (loaded.settings.child_model, loaded.settings.child_price) == (("a", "b"), (1.0, 2.0))
    flags = loaded.over(child_model=("c,d", "e"))
    assert flags.settings.child_model == ("c", "d", "e") and flags.settings.child_price is None
    assert flags.origin("child_model") == "--child-model"
    assert loaded.over(child_model=()).settings.child_model == ("a", "b")
    assert place.load(ABYME_CHILD_MODEL="c, d").settings.child_model == ("c", "d")
    with pytest.raises(ConfigError, match="child_model may not be a script"):
        place.load(local='child_model = ["a", "scripted:evil.json"]')
    with pytest.raises(ConfigError, match="child_price may not be set by a folder"):
        place.load(local='child_price = "0,0"')


@pytest.mark.parametrize("key", ["model", "sub_model"])
@pytest.mark.parametrize("spec", ["scripted:evil.txt", " scripted:sub/x.json ", "scripted:"])
def test_a_folder_may_name_no_script(place: Place, key: str, spec: str) -> None:
    (place.folder / "evil.txt").write_text("```repl\nimport os\n```")
    with pytest.raises(ConfigError) as caught:
        place.load(local=f'{key} = "{spec}"')
    assert str(caught.value) == (
        f"./abyme.toml: {key} may not be a script in a folder's file: its replies are code that is "
        f"run; give --{key.replace('_', '-')} scripted:FILE"
    )
    place.local.unlink()
    assert getattr(place.load(user=f'{key} = "{spec}"').settings, key) == spec.strip()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('modle = "m"', "modle is not known in this version: did you mean model?"),
        ('zzz = "m"', "zzz is not known in this version: there are model, sub_model, base_url"),
        ("max_cost = 3", "max_cost is a limit: write it below the line [limits]"),
        ("[limits]\nmodel = 'm'", "model is no limit: write it above the line [limits]"),
        ("[limits]\nmax_costs = 3", "max_costs is not known in [limits] in this version: did you"),
        ("[limit]\nmax_cost = 3", "limit is not known in this version: did you mean limits?"),
        ("limits = 3", "limits must be a table, not a number"),
        ("model = 3", 'model must be text in quotes ("…"), not a number'),
        ("model = true", 'model must be text in quotes ("…"), not true'),
        ("model = 2020-01-01", "not a date"),
        ("model = ['m']", "not a list"),
        ('model = "a\\u001b"', "model has a control character in it"),
        ("exclude = 'x'", 'exclude must be a list of texts, like ["…", "…"]'),
        ("exclude = [1]", "exclude must be a list of texts"),
        ("[limits]\nmax_cost = 0", "max_cost must be above 0, not 0"),
        ("[limits]\nmax_cost = '3'", 'max_cost must be a number or "none", not text'),
        ("[limits]\nmax_cost = []", 'max_cost must be a number or "none", not a list'),
        ("[limits]\nmax_cost = inf", '000,000; "none" is no limit'),
        ("[limits]\nmax_calls = 1.5", 'max_calls must be a whole number or "none", not 1.5'),
        ("[limits]\nmax_turns = 1.5", "max_turns must be a whole number, not 1.5"),
        ("[limits]\nmax_turns = true", "max_turns must be a number, not true"),
        (
            "[limits]\nmax_turns = 'none'",
            'max_turns must be a number: "none" is only for max_calls, ',
        ),
        ("[limits]\nmax_calls = 1", "max_calls must be at least 2"),
    ],
)
@pytest.mark.parametrize("file", ["local", "user"])
def test_what_is_wrong_in_a_file_is_one_line(place: Place, file: str, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load(**{file: text})
    said = str(caught.value)
    assert said.startswith(f"{FOLDER if file == 'local' else place.user}: ")
    assert line in said and "\n" not in said and len(said) < 400


@pytest.mark.parametrize("price", ["3", "[1]", "'1,x'", "[1, true]", "'-1,2'", "'nan,inf'"])
def test_a_price_is_two_numbers(place: Place, price: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load(user=f"price = {price}")
    assert str(caught.value) == (
        f'{place.user}: price must be "IN,OUT", US dollars for a million tokens in and out, like '
        '"0.25,2"'
    )


KEYS = [
    "sk-FAKE1234",
    "sk_FAKE123456",
    "AIzaFAKE_abcdefgh",
    "hf_FAKEabcdefghijklmn0123456",
    "0123456789abcdefFAKE0123456789",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_where_none_belongs_is_not_shown(place: Place, key: str) -> None:
    for text in (
        f'api_key_env = "{key}"',
        f"{key} = 1",
        f"limits.{key} = 1",
        f"[{key}]\n[{key}]",
        f"a.{key} = 1\n[a.{key}]",
    ):
        with pytest.raises(ConfigError) as caught:
            place.load(user=text)
        assert "FAKE" not in str(caught.value) and str(place.user) in str(caught.value)


@pytest.mark.parametrize("name", ["MY_KEY", "key_2", "_x", "KEY_OF_SERVER", "MY_SERVER_2_API_KEY"])
def test_names_of_variables_are_taken(place: Place, name: str) -> None:
    assert place.load(user=f'api_key_env = "{name}"').settings.api_key_env == name
    for wrong in (f"{name}-", f"2{name}", f"{name} x", "é"):
        with pytest.raises(ConfigError, match="api_key_env must be the name of a variable, like"):
            place.load(user=f'api_key_env = "{wrong}"')


def test_tools_are_not_known_in_the_users_file(place: Place) -> None:
    with pytest.raises(ConfigError, match="is not known in this version"):
        place.load(user="tools = []")


def test_the_users_file_chooses_among_the_sandboxes(place: Place) -> None:
    for name in SANDBOXES:
        assert place.load(user=f'sandbox = "{name}"').settings.sandbox == name
    for wrong in ('"none"', '"unsafe"', '"sh"'):
        with pytest.raises(ConfigError, match="sandbox must be one of process, bubblewrap"):
            place.load(user=f"sandbox = {wrong}")
    with pytest.raises(ConfigError, match="sandbox must be text"):
        place.load(user="[sandbox]")


def test_local_servers_must_be_addresses(place: Place) -> None:
    for url in ("localhost:1", "ftp://h", "http://", "http://h:x", "http://a b/"):
        with pytest.raises(ConfigError, match="local_servers must be URLs like http://127"):
            place.load(user=f'local_servers = ["{url}"]')
        with pytest.raises(ConfigError, match=r"^ABYME_LOCAL_SERVERS must be URLs"):
            load_settings({"ABYME_LOCAL_SERVERS": url}, place.folder / "x", place.folder / "y")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"model = \n", "is not valid TOML: Invalid value (at line 1, column 9)"),
        (b"a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        (b"model = '\xff'", "is not UTF-8 text (line 1)"),
        (b"\n\xfe\xff", "is not UTF-8 text (line 2)"),
        (b"a = " + b"[\n" * 20_000, "is nested too deeply"),
        (b"a" + b".a" * 20_000 + b" = 1", ": line 1 is longer than 1,000 characters: break it"),
        (b"#\n" * 32_001, "is larger than 64 kB"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_one_line(place: Place, raw: bytes, line: str) -> None:
    place.local.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert str(caught.value).startswith(FOLDER) and line in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_byte_order_mark_and_windows_lines_are_read(place: Place) -> None:
    place.local.write_bytes(b"\xef\xbb\xbfmodel = 'm'\r\n[limits]\r\nmax_turns = 3\r\n")
    assert place.load().settings.limits.max_turns == 3


def test_what_is_no_file_is_noticed_and_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.local.mkdir()
    with pytest.raises(ConfigError, match=r"^./abyme.toml is a folder, not a file"):
        place.load()
    place.local.rmdir()
    os.mkfifo(place.local)
    with pytest.raises(ConfigError, match="is a device or pipe, not a file"):
        place.load()
    place.local.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(place.folder)  # the path of a socket has to be short
        listening.bind("abyme.toml")
        with pytest.raises(ConfigError, match=r"^cannot read ./abyme.toml: "):
            place.load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(place: Place) -> None:
    place.local.write_text("")
    place.local.chmod(0)
    with pytest.raises(ConfigError, match=r"cannot read ./abyme.toml: Permission denied"):
        place.load()


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("ABYME_MAX_COST", "lots", 'must be a number or "none", not text'),
        ("ABYME_MAX_COST", "nan", "must be above 0"),
        ("ABYME_MAX_COST", "inf", 'must be at most 1,000,000,000,000,000; "none" is no limit'),
        ("ABYME_MAX_CALLS", "inf", 'must be a whole number or "none", not inf'),
        ("ABYME_MAX_TURNS", "1.5", "must be a whole number, not 1.5"),
        ("ABYME_MAX_TURNS", "abc", "must be a number, not text"),
        ("ABYME_MAX_TURNS", "None", 'must be a number: "none" is only for max_calls, max_tokens'),
        ("ABYME_CALL_SECONDS", "inf", "must be at most 1,000,000,000,000,000"),
        ("ABYME_MAX_CALLS", "1", "must be at least 2"),
        ("ABYME_PRICE", "1", 'must be "IN,OUT"'),
        ("ABYME_MODEL", "a\x1bb", "has a control character"),
    ],
)
def test_a_wrong_variable_or_flag_is_named(
    place: Place, variable: str, value: str, line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load(**{variable: value})
    assert str(caught.value).startswith(f"{variable} {line}")
    name = variable.removeprefix("ABYME_").lower()
    with pytest.raises(ConfigError) as caught:
        place.load().over(**{name: value})
    assert str(caught.value).startswith(f"--{name.replace('_', '-')} {line}")


def test_limits_of_children_by_depth_in_a_file_and_for_all_of_them_by_flag(place: Place) -> None:
    text = "[limits]\nchildren = [{max_cost = 0.5, max_calls = 'none'}, {max_turns = 3}]"
    loaded = place.load(user=text)
    children = (ChildLimits(max_cost=0.5), ChildLimits(max_turns=3))
    assert loaded.settings.limits.children == children
    assert as_toml(children) == "[{max_cost = 0.5}, {max_turns = 3}]"
    over = loaded.over(child_cost="0.25", child_calls="7", child_seconds="none")
    assert over.settings.limits.children == (
        ChildLimits(max_cost=0.25, max_calls=7),
        ChildLimits(max_cost=0.25, max_calls=7, max_turns=3),
    )
    assert over.origin("children").startswith("--child-")


def test_limits_of_children_in_the_environment(place: Place) -> None:
    named = place.load(ABYME_CHILD_TURNS="4")
    assert named.settings.limits.children == (ChildLimits(max_turns=4),)
    assert named.origin("children") == "ABYME_CHILD_TURNS" and named.unknown == {}


def test_a_folder_may_lower_what_children_may_spend_and_no_more(place: Place) -> None:
    low = place.load(local="[limits]\nchildren = [{max_turns = 3}]")
    assert low.settings.limits.children == (ChildLimits(max_turns=3),) and not low.refused
    high = place.load(local="[limits]\nchildren = [{max_turns = 30}]")
    assert high.settings.limits.children == ()
    assert high.refused == {"children": (ChildLimits(max_turns=30),)}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("5", "must be a list of tables, like [{max_turns = 15}]"),
        ("[5]", "must be a list of tables"),
        ("[{max_turn = 5}]", ": a child has max_turns, max_calls, max_tokens, max_cost and "),
        ("[{max_turns = 'none'}]", ": max_turns must be a number"),
        ("[{max_cost = -1}]", ": max_cost must be above 0"),
        ("[{}, {}, {}, {}, {}, {}, {}, {}, {}]", "must be at most 8, one for each depth"),
    ],
)
def test_limits_of_children_that_are_wrong(place: Place, value: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load(user=f"[limits]\nchildren = {value}")
    assert f"children{line}" in str(caught.value) or f"children {line}" in str(caught.value)
    with pytest.raises(ConfigError, match=r"child_turns is a flag: write children = "):
        place.load(user="[limits]\nchild_turns = 3")


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("none", ["none", "None", "NONE", " none "])
def test_none_is_no_limit_however_it_is_written(place: Place, name: str, none: str) -> None:
    variable = {f"ABYME_{name.upper()}": none}
    for loaded in (
        place.load().over(**{name: none}),
        place.load(**variable),
        place.load(user=f'[limits]\n{name} = "{none.strip()}"'),
    ):
        assert getattr(loaded.settings.limits, name) is None and loaded.origin(name)


def test_python_is_told_of_none_as_python_has_it() -> None:
    with pytest.raises(ConfigError, match=r"^max_cost must be at most .*; None is no limit$"):
        Limits(max_cost=float("inf"))
    with pytest.raises(ConfigError, match=r"^max_turns must be a whole number, not None$"):
        Limits(max_turns=None)  # type: ignore[arg-type]


def test_the_folder_for_runs_is_read_whatever_is_wrong_elsewhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    place.local.write_text("model = [")
    place.user.write_text('modle = "m"\nruns = "r"\n[limits]\nmax_cost = -1')
    own = {"ABYME_CONFIG": str(place.user), "ABYME_MAX_COST": "x"}
    assert configured_runs(own) == "r"
    assert configured_runs({**own, "ABYME_RUNS": " /e "}) == "/e"
    place.user.write_text("runs = 3")
    with pytest.raises(ConfigError, match=f"^{place.user}: runs must be text"):
        configured_runs(own)
    place.user.unlink()
    with pytest.raises(ConfigError, match=r"^ABYME_CONFIG names .*, and there is no such file"):
        configured_runs(own)
    assert configured_runs({**own, "ABYME_RUNS": "/e"}) == "/e"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.user.parent))
    assert configured_runs({}) == ""


def test_unknown_variables_are_kept_with_what_was_meant(place: Place) -> None:
    loaded = place.load(
        ABYME_MODLE="m", ABYME_ZZZZZZ="1", ABYME_API_KEY="sk-1", ABYME_TRACEBACK="1", OTHER="x"
    )
    assert loaded.unknown == {
        "ABYME_MODLE": "ABYME_MODEL",
        "ABYME_ZZZZZZ": "",
        "ABYME_API_KEY": "OPENAI_API_KEY",
    }


@pytest.mark.parametrize("command", [["runs"], ["show"]])
def test_a_run_can_be_shown_in_a_folder_whose_file_is_broken(
    place: Place, runs: Path, command: list[str]
) -> None:
    place.local.write_text("model = [")
    done = subprocess.run(
        [sys.executable, "-m", "abyme", *command],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=place.folder,
        env={**os.environ, "ABYME_RUNS": str(runs), "ABYME_MAX_COST": "x"},
    )
    assert "no runs" in done.stderr and "TOML" not in done.stderr


def test_the_users_file_is_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert user_config_file({"ABYME_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert user_config_file({"ABYME_CONFIG": "~/y.toml"}) == tmp_path / "y.toml"
    if sys.platform == "linux":
        assert user_config_file({}) == tmp_path / ".config" / "abyme" / "abyme.toml"
    with pytest.raises(ConfigError, match="ABYME_CONFIG=~nobody-here/x"):
        user_config_file({"ABYME_CONFIG": "~nobody-here/x"})
    own = tmp_path / ".config" / "abyme.toml"
    own.parent.mkdir()
    own.write_text('model = "m"')
    loaded = load_settings({"ABYME_CONFIG": str(own)}, tmp_path)
    assert loaded.origin("model") == "~/.config/abyme.toml"
    with pytest.raises(ConfigError, match=r"^ABYME_CONFIG names ~/.config/abyme.toml/x, and there"):
        load_settings({"ABYME_CONFIG": f"{own}/x"}, tmp_path)


def test_the_users_file_is_his_where_he_stands_beside_it(place: Place) -> None:
    place.local.write_text('base_url = "http://mine/v1"')
    loaded = load_settings({}, place.folder, place.local)
    assert loaded.settings.base_url == "http://mine/v1" and loaded.files == (place.local,)


def test_a_key_that_others_can_read_is_warned_of(place: Place) -> None:
    place.user.write_text('api_key = "sk-secret-1"')
    place.user.chmod(0o640)
    loaded = place.load()
    assert loaded.warnings == (
        f"{place.user} holds a key and others can read it: chmod 600 {place.user}",
    )
    place.user.chmod(0o600)
    loaded = place.load()
    assert loaded.warnings == ()
    assert "sk-secret" not in repr(loaded) + str(loaded) + repr(endpoint(loaded, {}))
    with pytest.raises(ConfigError, match="give api_key or api_key_env, not both"):
        place.load(user='api_key = "a"\napi_key_env = "B"')


OPENAI = "https://api.openai.com/v1"
OWN, OTHER = "https://own.example/v1", "http://other.example/v1"
EXPORTED, KEPT = "sk-exported", "sk-kept"


@pytest.mark.parametrize("kept_by", ["api_key", "api_key_env"])
@pytest.mark.parametrize(
    ("flag", "abyme", "openai", "own", "exported", "kept", "sent_to", "sent"),
    [
        # nobody names an address: api.openai.com, by the registry, which knows OPENAI_API_KEY
        ("", "", "", "", True, False, None, None),
        ("", "", "", "", True, True, None, None),
        ("", "", "", "", False, True, None, KEPT),
        ("", "", "", "", False, False, None, None),
        # the user's file: its own key or none
        ("", "", "", OWN, True, True, OWN, KEPT),
        ("", "", "", OWN, True, False, OWN, ""),
        ("", "", "", OWN, False, False, OWN, ""),
        ("", "", "", OPENAI, True, True, OPENAI, EXPORTED),
        ("", "", "", OPENAI, True, False, OPENAI, EXPORTED),
        ("", "", "", OPENAI, False, True, OPENAI, KEPT),
        ("", "", "", "http://api.openai.com/v1", True, False, "http://api.openai.com/v1", ""),
        ("", "", "", "https://api.openai.com.evil/v1", True, False, None, ""),
        # OPENAI_BASE_URL
        ("", "", OTHER, OWN, True, True, OTHER, EXPORTED),
        ("", "", OTHER, OWN, False, True, OTHER, ""),
        ("", "", OTHER, "", False, True, OTHER, ""),
        ("", "", OWN, OWN, True, True, OWN, EXPORTED),
        ("", "", OWN + "/", OWN, False, True, OWN + "/", KEPT),
        ("", "", OPENAI, "", False, True, OPENAI, KEPT),
        # --base-url and ABYME_BASE_URL
        (OTHER, "", "", OWN, True, True, OTHER, EXPORTED),
        (OTHER, "", "", OWN, False, True, OTHER, ""),
        (OTHER, "", "", "", False, True, OTHER, ""),
        (OWN, "", "", OWN, True, True, OWN, KEPT),
        (OWN, "", OWN, OWN, True, True, OWN, EXPORTED),
        (OWN, "", "", OWN, True, False, OWN, EXPORTED),
        (OPENAI, "", "", OWN, True, True, OPENAI, EXPORTED),
        (OPENAI, "", "", OWN, False, True, OPENAI, ""),
        (OPENAI, "", "", "", False, True, OPENAI, KEPT),
        (OPENAI, "", "", "", True, True, OPENAI, EXPORTED),
        ("", OTHER, "", OWN, True, True, OTHER, EXPORTED),
        ("", OWN, "", OWN, True, True, OWN, KEPT),
        ("", OWN + "/team", "", OWN, False, True, OWN + "/team", ""),
        ("", "http://own.example/v1", "", OWN, False, True, "http://own.example/v1", ""),
        (OTHER, OWN, OPENAI, OWN, False, True, OTHER, ""),
    ],
)  # fmt: skip
def test_which_key_goes_where(
    place: Place, kept_by: str, flag: str, abyme: str, openai: str, own: str, exported: bool,
    kept: bool, sent_to: str | None, sent: str | None,
) -> None:  # fmt: skip
    environ = {"MY_KEY": KEPT}
    if exported:
        environ["OPENAI_API_KEY"] = EXPORTED
    if abyme:
        environ["ABYME_BASE_URL"] = abyme
    if openai:
        environ["OPENAI_BASE_URL"] = openai
    user = f'base_url = "{own}"\n' if own else ""
    if kept:
        user += f'{kept_by} = "{KEPT if kept_by == "api_key" else "MY_KEY"}"\n'
    loaded = place.load(user=user, **environ).over(base_url=flag)
    where = endpoint(loaded, environ)
    assert where.base_url == (own if sent_to is None and own else sent_to)
    assert where.api_key == sent
    if sent == KEPT:
        assert where.key_from == f"{kept_by} in {place.user}"
    elif sent == EXPORTED or (sent is None and exported):
        assert where.key_from == "OPENAI_API_KEY"
    else:
        assert where.key_from == ""


def test_a_variable_for_the_key_that_is_not_set_is_said(place: Place) -> None:
    loaded = place.load(user=f'base_url = "{OWN}"\napi_key_env = "MY_KEY"')
    with pytest.raises(ConfigError) as caught:
        endpoint(loaded, {"OPENAI_API_KEY": EXPORTED})
    assert str(caught.value) == (
        f"no key for {OWN}: MY_KEY is not set, which api_key_env in {place.user} names"
    )
    named = place.load(user=f'base_url = "{OWN}"\napi_key_env = "OPENAI_API_KEY"')
    assert endpoint(named, {"OPENAI_API_KEY": EXPORTED}).api_key == EXPORTED


def test_loading_imports_little(place: Place) -> None:
    place.local.write_text('model = "m"\n[limits]\nmax_cost = 3\n')
    none = place.folder / "none.toml"
    code = (
        "import sys; import abyme.settings as s; from pathlib import Path;"
        "assert not {'tomllib', 'platformdirs', 'aiohttp', 'rich'} & set(sys.modules);"
        f"s.load_settings({{}}, Path({str(place.folder)!r}), Path({str(none)!r}));"
        "assert not {'platformdirs', 'aiohttp', 'rich', 'abyme.models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

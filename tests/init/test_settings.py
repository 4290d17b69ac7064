# SPDX-License-Identifier: MIT
"""Settings: precedence, ranges, and refusals that name setting, value, range and origin."""

from pathlib import Path

import pytest
from launcher import settings as s
from launcher.common import ROOT, Refused


def chosen(tmp_path, text="", environment=None, **flags):
    env_file = tmp_path / ".env"
    env_file.write_text(text, encoding="utf-8")
    return s.choose(flags, environment or {}, env_file)


def test_defaults_without_any_file(tmp_path):
    settings = s.choose({}, {}, tmp_path / "none")
    assert (settings["M"], settings["N"], settings["REPLICAS"]) == (6, 3, 3)
    assert (settings["PORT"], settings["RPC_PORT"]) == (3000, 4000)
    assert settings["DATA_DIR"] == ROOT / "data"
    assert not settings["RING_KEY_FILE"]


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    assert chosen(tmp_path, "M=7")["M"] == 7
    assert chosen(tmp_path, "M=7", {"M": "8"})["M"] == 8
    assert chosen(tmp_path, "M=7", {"M": "8"}, M="9")["M"] == 9
    assert chosen(tmp_path, "M=7", {"M": ""})["M"] == 7


def test_rpc_port_follows_port(tmp_path):
    assert chosen(tmp_path, "PORT=5000")["RPC_PORT"] == 6000
    assert chosen(tmp_path, "PORT=5000\nRPC_PORT=7000")["RPC_PORT"] == 7000


def test_paths_are_relative_to_where_they_were_written(tmp_path):
    assert chosen(tmp_path, "DATA_DIR=mine")["DATA_DIR"] == tmp_path / "mine"


PLACES = pytest.mark.parametrize("place", ["file", "environment", "flag"])


def path_from(tmp_path, place, text):
    return chosen(tmp_path, f"DATA_DIR={text}" if place == "file" else "",
                  {"DATA_DIR": text} if place == "environment" else None,
                  **({"DATA_DIR": text} if place == "flag" else {}))


@PLACES
def test_a_tilde_is_a_home_folder(tmp_path, monkeypatch, place):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text, wanted in (("~", "home"), ("~/mine", "home/mine")):
        assert path_from(tmp_path, place, text)["DATA_DIR"] == tmp_path / wanted
    assert "~nobody9" in refusal_of(path_from, tmp_path, place, "~nobody9/mine")


@PLACES
@pytest.mark.parametrize("text, parts", [
    ("$HOME/mine", ["has $HOME,", "not replaced", "/some/home/mine"]),
    ("${HOME}/mine", ["has ${HOME},", "/some/home/mine"]),
    ("/a/$NOBODY9/b", ["has $NOBODY9,", "write the whole path"]),
    ("/a/$(id)", ["has $(id),"]), ("/a/`id`", ["has `id`,"]),
    ("\u201cmy data\u201d", ["begins with \u201c", "without"]),
])
def test_what_only_a_shell_replaces_is_refused_in_paths(tmp_path, monkeypatch, place, text, parts):
    monkeypatch.setenv("HOME", "/some/home")
    said = refusal_of(path_from, tmp_path, place, text)
    for part in (f"DATA_DIR={text}", *parts):
        assert part in said


def test_quotes_that_no_reader_took_away_are_refused_in_paths(tmp_path):
    for text in ('"my data"', "'mine'"):
        assert "without" in refusal_of(path_from, tmp_path, "environment", text)
    assert "without" in refusal_of(chosen, tmp_path, "DATA_DIR=\"'mine'\"")


@pytest.mark.parametrize("text", ["", " ", '""', "''"])
def test_no_folder_is_refused_but_in_the_environment(tmp_path, text):
    said = refusal_of(chosen, tmp_path, f"DATA_DIR={text}")
    assert "DATA_DIR=(empty)" in said and str(ROOT / "data") in said
    assert "DATA_DIR=(empty)" in refusal_of(chosen, tmp_path, DATA_DIR=text.strip("\"'"))
    assert chosen(tmp_path, "", {"DATA_DIR": text.strip("\"'")})["DATA_DIR"] == ROOT / "data"


ODD = ["", " ", '""', "''", "~", "~/x", "~nobody9", "$HOME", '"', '"x', "x'", '"x"y', "\u201cx\u201d", "`x`",
       ",", "#", "\\", "a b", "-1", "9" * 30, "\u0663", "x" * 300, "/", ".", "/dev/null", ":", "::1"]


@PLACES
@pytest.mark.parametrize("name", sorted(s.NAMES))
def test_every_odd_value_is_taken_or_refused_by_name(tmp_path, monkeypatch, place, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ODD:
        try:
            settings = chosen(tmp_path, f"{name}={text}" if place == "file" else "",
                              {name: text} if place == "environment" else None,
                              **({name: text} if place == "flag" else {}))
            settings.values["HOST"] = settings["HOST"] or "127.0.0.1"
            s.check_exposure(settings)
            s.check_together(settings, settings["NUM_OF_NODES"])
            assert all(isinstance(settings[path], Path) or settings[path] == ""
                       for path in ("DATA_DIR", "RING_KEY_FILE", "API_TOKEN_FILE"))
            assert isinstance(settings["DATA_DIR"], Path)
        except Refused as refusal:
            assert refusal.exit_code == 2 and name in str(refusal), text
            shown = text.strip(" \"'~.")[:10]  # a path is shown as a whole
            assert shown in str(refusal) or "(empty)" in str(refusal), f"{text}: {refusal}"


def test_an_order_can_be_pasted(tmp_path):
    text = str(tmp_path / "my data")
    assert chosen(tmp_path, "", DATA_DIR=text).same_folder() == f" --data-dir '{text}'"


@pytest.mark.parametrize("text, parts", [
    ("M=2", ["M=2", "line 1 of .env", "3..160"]),
    ("\nM=abc", ["M=abc", "line 2 of .env", "whole number", "3..160"]),
    ("M=", ["M=(empty)", "3..160"]),
    ("N=33", ["N=33", "1..32"]),
    ("PORT=70000", ["PORT=70000", "1..65534"]),
    ("NUM_OF_NODES=0", ["NUM_OF_NODES=0", "1..1000"]),
    ("DEFAULT_CHANNEL_SIZE=-1", ["DEFAULT_CHANNEL_SIZE=-1", "1..60000"]),
    ("JOIN=some where:port", ["JOIN=some where:port", "HOST[:PORT]"]),
    ("HOST=0.0.0.0", ["HOST=0.0.0.0", "others can dial"]),
    ("HOST=example", ["HOST=example", "IPv4"]),
    ("what is this", ["line 1", "NAME=VALUE"]),
])
def test_bad_values_are_refused_by_name(tmp_path, text, parts):
    with pytest.raises(Refused) as refusal:
        chosen(tmp_path, text)
    for part in parts:
        assert part in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_origin_is_named_for_environment_and_flag(tmp_path):
    with pytest.raises(Refused, match="from the environment"):
        chosen(tmp_path, "", {"M": "1000"})
    with pytest.raises(Refused, match="from flag --nodes"):
        chosen(tmp_path, "", NUM_OF_NODES="many")


def refusal_of(call, *arguments, **flags):
    with pytest.raises(Refused) as refusal:
        call(*arguments, **flags)
    assert refusal.value.exit_code == 2 and "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("text, parts", [
    ("M=6\nNUM_NODES=5", ["NUM_NODES", "line 2", "did you mean NUM_OF_NODES?"]),
    ("port=80", ["port", "did you mean PORT?"]),
    ("COLOUR=red", ["COLOUR", "there are:", "DATA_DIR"]),
    ('M="32', ["line 1", 'M="32', "has no end", "put another"]),
    ("M='32", ["line 1", "M='32", "has no end", "put another"]),
    ('M=32"', ["line 1", 'M=32"', "quote in the middle"]),
    ('M="32"6', ["line 1", "'6'", "behind the quoted"]),
    ('DATA_DIR="a\nb"', ["line 1", "has no end"]),
    ('DATA_DIR="a\\"b"', ["line 1", "DATA_DIR"]),
    ("DATA_DIR=a\\ b", ["backslash"]),
    ("M=32 # six", ["line 1", "comment", "line of its own"]),
    ('M="32" # six', ["line 1", "line of its own"]),
    ("JOIN=#none", ["comment"]),
    ("export M=32", ["export", "write M=32"]),
    ("M=7\nM=8", ["line 2", "M is set again", "line 1 of .env"]),
    ("\ufeffM=7", ["byte order mark", "sed -i"]),
    ("DATA_DIR=a\x00b", ["line 1", "control character"]),
    ("DATA_DIR=a\u00a0b", ["line 1", "blank of another kind", "a\\xa0b"]),
    ('DATA_DIR=" "', ["line 1", "blank at an end"]),
    ("DATA_DIR='mine '", ["line 1", "blank at an end"]),
    ("# in C:\\\nM=7", ["line 1", "backslash", "systemd before 254"]),
    ("M 7", ["line 1", "NAME=VALUE"]),
    ("M=\u0663", ["whole number"]),
    ("M=7_0", ["whole number"]),
    ("DEFAULT_CHANNEL_SIZE=60001", ["DEFAULT_CHANNEL_SIZE=60001", "1..60000"]),
    ("JOIN=" + ",".join(["a:1"] * 17), ["17 addresses", "1..16"]),
    ("JOIN=" + "a" * 62 + ":1", ["at most 63 bytes"]),
    ("JOIN=tailscale:chord", ["'tailscale:chord'", "tailscale:tag:NAME"]),
    ("JOIN=http://a:1", ["'http://a:1'", "HOST[:PORT]"]),
    ("HOST_ID=" + "x" * 64, ["HOST_ID", "63 bytes"]), ("HOST_ID=a\tb", ["HOST_ID", "control"]),
    ("HOST_NAMES=https://a", ["HOST_NAMES", "'https://a'", "host name"]),
    ("HOST_NAMES=" + ",".join(["a"] * 25), ["25 names", "1..24"]),
])
def test_what_readers_would_take_differently_is_refused(tmp_path, text, parts):
    said = refusal_of(chosen, tmp_path, text)
    for part in parts:
        assert part in said


@pytest.mark.parametrize("data", [b"\xff\xfeM\x00", b"M=7\nDATA_DIR=\xe4\n"])
def test_other_encodings_are_named(tmp_path, data):
    (tmp_path / ".env").write_bytes(data)
    assert "UTF-8" in refusal_of(s.choose, {}, {}, tmp_path / ".env")


def test_what_every_reader_takes_alike(tmp_path):
    settings = chosen(tmp_path, "# a comment\r\n; another\r\n M = \"32\" \r\nDATA_DIR='my data'\r\n"
                      "JOIN=a:1, b:2  c:3\r\nHOST_NAMES=x.example, y.example\r\n")
    assert settings["M"] == 32 and settings["DATA_DIR"] == tmp_path / "my data"
    assert settings["JOIN"] == "a:1,b:2,c:3"
    assert settings["HOST_NAMES"] == "x.example,y.example"


def test_a_named_file_must_be_there(tmp_path):
    assert "No such file" in refusal_of(s.choose, {}, {}, tmp_path / "none", True)


def test_programs_hear_of_settings_on_their_command_line_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("JOIN", "elsewhere:4001")
    monkeypatch.setenv("LANG", "C")
    given = chosen(tmp_path, "", JOIN="").environment()
    assert given["LANG"] == "C" and not set(given) & s.NAMES


def test_shipped_file_is_valid():
    settings = s.choose({}, {}, ROOT / ".env")
    settings.values["HOST"] = "127.0.0.1"
    s.check_together(settings, settings["NUM_OF_NODES"])
    assert not any(settings.explicit(name) for name in ("M", "N", "REPLICAS"))


@pytest.mark.parametrize("text, parts", [
    ("M=3\nNUM_OF_NODES=9", ["NUM_OF_NODES=9", "8 ids", "M=3"]),
    ("N=2\nREPLICAS=4", ["REPLICAS=4", "1..3", "N=2"]),
    ("PORT=64800", ["PORT=64800 (from line 1", "no room", "RPC_PORT=65800", "1..64530"]),
    ("RPC_PORT=65534", ["RPC_PORT=65534 (from line 1", "no room", "1..65530"]),
    ("M=32\nPORT=64000\nNUM_OF_NODES=600", ["PORT=64000", "600 nodes"]),
    ("PORT=3000\nRPC_PORT=3002", ["RPC_PORT=3002", "meet"]),
    ("RING_KEY_FILE=/nonexistent/key", ["RING_KEY_FILE", "cannot be read"]),
    ("DATA_DIR=/" + "x" * 100, ["DATA_DIR", "90 bytes"]),
])
def test_values_that_do_not_fit_together(tmp_path, text, parts):
    settings = chosen(tmp_path, text)
    with pytest.raises(Refused) as refusal:
        s.check_together(settings, settings["NUM_OF_NODES"])
    for part in parts:
        assert part in str(refusal.value)


def test_strangers_address_needs_secrets(tmp_path):
    settings = chosen(tmp_path, "HOST=192.0.2.7")
    with pytest.raises(Refused) as refusal:
        s.check_exposure(settings)
    assert "RING_KEY_FILE and API_TOKEN_FILE" in str(refusal.value)
    for name in ("key", "token"):
        (tmp_path / name).write_text("a secret of some length\n")
        (tmp_path / name).chmod(0o600)
    s.check_exposure(chosen(tmp_path, "HOST=192.0.2.7\nRING_KEY_FILE=key\nAPI_TOKEN_FILE=token"))
    s.check_exposure(chosen(tmp_path, "HOST=100.101.102.103"))
    s.check_exposure(chosen(tmp_path, "HOST=127.0.0.1"))


@pytest.mark.parametrize("text, parts", [
    ("CLIENT_KEY_FILE=one", ["CLIENT_KEY_FILE", "without RING_KEY_FILE"]),
    ("RING_KEY_FILE=one\nREADER_KEY_FILE=one", ["READER_KEY_FILE", "the same secret as RING_KEY_FILE"]),
])
def test_keys_that_do_not_go_together(tmp_path, text, parts):
    (tmp_path / "one").write_text("a secret of some length\n")
    (tmp_path / "one").chmod(0o600)
    with pytest.raises(Refused) as refusal:
        s.check_secrets(chosen(tmp_path, text))
    assert all(part in str(refusal.value) for part in parts), refusal.value


def test_what_counts_as_insisting(tmp_path):
    assert not chosen(tmp_path, "M=6").explicit("M")
    assert chosen(tmp_path, "M=7").explicit("M")
    assert chosen(tmp_path, "", {"M": "6"}).explicit("M")
    assert chosen(tmp_path, "", M="6").explicit("M")


@pytest.mark.parametrize("secret, mode, part", [
    (b"a secret of some length\n", 0o644, "chmod 600"),
    (b"a secret of some length\n", 0o640, "chmod 600"),
    (b"\xef\xbb\xbfa secret of some length\n", 0o600, "byte order mark"),
    (b"short\n", 0o600, "5 bytes"),
    (b"passwordpasswordpass\n", 0o600, "can be guessed"), (b"12123123412312341234\n", 0o600, "can be guessed"),
    (b"", 0o600, "0 bytes"),
    (b"\na secret of some length\n", 0o600, "0 bytes"),
    (b"x" * 65, 0o600, "65 bytes"),
])
def test_secrets_are_the_owners_alone_and_whole(tmp_path, secret, mode, part):
    (tmp_path / "key").write_bytes(secret)
    (tmp_path / "key").chmod(mode)
    settings = chosen(tmp_path, "RING_KEY_FILE=key")
    assert part in refusal_of(s.check_secrets, settings)


def test_a_secret_must_be_a_file(tmp_path):
    assert "is no file" in refusal_of(s.check_secrets, chosen(tmp_path, "RING_KEY_FILE=."))

"""Secrets, accounts, tokens, commands, logs: what when something is half done, missing or raced?"""

import logging
import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from gateway import cli, commands, people
from gateway.assemble import assemble
from gateway.guessing import Guessing
from gateway.logs import configure_logging
from gateway.settings import Settings, require_safe_listening
from gateway.vault import open_vault
from storage.tables import fact
from worklist.errors import Code, Refusal
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

PASSWORD = "correct-horse"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", min_free_bytes=0)


@pytest.fixture
def parts(settings):
    made = assemble(settings, lambda: NOW)
    with made.new_unit() as unit:
        unit.people.save_site(
            Site("h1", "医院", "Hospital", SiteKind.HOSPITAL, "Asia/Shanghai"), NOW
        )
        unit.people.save_site(
            Site("c1", "中心", "Center", SiteKind.CENTER, "Asia/Shanghai", None, frozenset({"h1"})),
            NOW,
        )
    yield made
    made.close()


def reader(name="chen"):
    return Person(name, "陈静", "Chen Jing", frozenset({Role.READER}), "h1", "110-1", None)


# --- the gateway's secret ----------------------------------------------------------------------


def test_a_power_cut_while_the_secret_is_written_leaves_none(tmp_path, monkeypatch):
    path = tmp_path / "secret"

    def cut(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "fsync", cut)
        open_vault(path)
    assert not path.exists()
    key = open_vault(path).key("x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_vault(path).key("x") == key


def test_a_secret_that_is_lost_is_never_replaced_in_silence(parts, settings):
    people.ensure_authority(parts, "h1")
    parts.close()
    settings.secret_path.unlink()
    with pytest.raises(Refusal) as refused:
        assemble(settings)
    assert "TELEREAD_SECRET_FILE" in refused.value.message
    assert not settings.secret_path.exists()


# --- passwords and sessions --------------------------------------------------------------------


def test_a_password_reset_during_a_sign_in_leaves_no_session_of_the_old_one(parts, monkeypatch):
    people.add_user(parts, reader(), PASSWORD)
    real = people._wrapped_key

    def reset_in_between(*arguments):
        made = real(*arguments)
        monkeypatch.setattr(people, "_wrapped_key", real)
        people.set_password(parts, "chen", "another-horse")
        return made

    monkeypatch.setattr(people, "_wrapped_key", reset_in_between)
    with pytest.raises(Refusal) as refused:
        people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    assert refused.value.code is Code.WRONG_CREDENTIALS
    assert people.sign_in(parts, Guessing(), "chen", "another-horse", "127.0.0.1").signing_until


# --- tokens ------------------------------------------------------------------------------------


def test_a_token_of_zero_or_fewer_days_is_refused_not_endless(parts):
    for days in (0, -1, 10**9):
        given = {"name": "his", "role": ["doctor"], "site": "c1", "days": days}
        assert commands.run(parts, "token add", given)["code"] == 1


def test_a_token_of_a_center_cannot_have_a_hospital_s_roles(parts):
    for role in ("reader", "reviewer", "coordinator"):
        given = {"name": "his", "role": [role], "site": "c1", "days": None}
        assert commands.run(parts, "token add", given)["code"] == 1
    given = {"name": "his", "role": ["doctor"], "site": "c1", "days": 30}
    assert commands.run(parts, "token add", given)["code"] == 0


# --- who changed what --------------------------------------------------------------------------


def test_whoever_reads_for_whom_is_on_record(parts):
    site = {
        "key": "c2",
        "name": "二号",
        "name_en": None,
        "kind": "center",
        "timezone": "Asia/Shanghai",
        "phone": None,
        "read_by": ["h1"],
    }
    device = {"site": "c2", "ae_title": "CT", "called": None, "host": None, "port": None}
    plain = {"modality": None, "tls": False, "certificate": None, "returns_reports": False}
    token = {"name": "his", "role": ["doctor"], "site": "c2", "days": None}
    for command, given in (
        ("site add", site),
        ("device add", {**device, **plain}),
        ("token add", token),
        ("token revoke", {"name": "his"}),
    ):
        assert commands.run(parts, command, given)["code"] == 0, command
    with parts.view() as unit:
        told = unit.connection.execute(select(fact.c.data).where(fact.c.site == "c2")).scalars()
        said = {word for one in told for word in one}
    assert {"site_saved", "device_added", "token_added", "token_revoked"} <= said


# --- commands ----------------------------------------------------------------------------------


def test_a_command_that_cannot_write_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "file"
    folder.write_text("not a folder")
    monkeypatch.setenv("TELEREAD_DATA_DIR", str(folder / "data"))
    assert cli.main(["site", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("teleread: ")
    assert said.count("\n") == 1


def test_a_proxy_without_a_name_is_none():
    with pytest.raises(Refusal):
        require_safe_listening(Settings(web_host="0.0.0.0", trusted_proxies=" , "))


# --- logs --------------------------------------------------------------------------------------


def test_a_trace_in_the_log_holds_no_message_of_an_error(capsys):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging("info")
    try:
        try:
            try:
                raise ValueError("丁建国 ZY-20931")
            except ValueError as error:
                raise RuntimeError("impression: nodule") from error
        except RuntimeError:
            logging.getLogger("teleread.web").exception("GET /api failed")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    said = capsys.readouterr().err
    assert "GET /api failed" in said
    assert "RuntimeError" in said
    assert "ValueError" in said
    assert "test_review_commands.py" in said
    assert "丁建国" not in said.replace('raise ValueError("丁建国 ZY-20931")', "")
    assert "nodule" not in said.replace('"impression: nodule"', "")


def test_a_site_that_is_changed_keeps_what_is_not_said(parts, capsys):
    given = cli.parser().parse_args(["site", "add", "c1", "--name", "新名"])
    assert commands.run(parts, "site add", cli._values(given))["code"] == 0
    given = cli.parser().parse_args(["site", "add", "h1", "--name", "新医院", "--phone", "120"])
    assert commands.run(parts, "site add", cli._values(given))["code"] == 0
    with parts.view() as unit:
        sites = unit.people.sites()
    assert (sites["c1"].name, sites["c1"].read_by) == ("新名", frozenset({"h1"}))
    assert (sites["h1"].kind, sites["h1"].phone) == (SiteKind.HOSPITAL, "120")


def test_a_hospital_does_not_become_a_center(parts):
    given = cli.parser().parse_args(["site", "add", "h1", "--name", "x", "--kind", "center"])
    assert commands.run(parts, "site add", cli._values(given))["code"] == 1
    with parts.view() as unit:
        assert unit.people.site("h1").kind is SiteKind.HOSPITAL

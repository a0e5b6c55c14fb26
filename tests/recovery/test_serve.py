"""Does `teleread serve` begin safely, or say in one line why not?"""

import socket
import ssl
import subprocess

import httpx
import pytest

from tests.recovery.browser import Person
from tests.recovery.house import House

NOT_LOOPBACK = "0.0.0.0"


def refused(house, *words):
    """Run the command, which must fail; its one line on standard error."""
    done = house.teleread(*words)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def empty(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def certificate(folder):
    """A throw-away key and certificate for localhost."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / "cert.pem", folder / "key.pem"


def test_an_empty_folder_tells_how_to_make_the_first_administrator(empty):
    empty.start()
    said = empty.log()
    assert "teleread site add" in said
    assert "teleread user add NAME --role admin" in said
    assert (empty.data / "secret").stat().st_mode & 0o777 == 0o600
    assert empty.stop().code == 0


def test_beyond_loopback_without_tls_or_a_named_proxy_is_refused(empty):
    empty.environment["TELEREAD_WEB_HOST"] = NOT_LOOPBACK
    line = refused(empty, "serve")
    assert "TELEREAD_WEB_HOST" in line
    assert "TELEREAD_TRUSTED_PROXIES" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEREAD_WEB_PORT", "many"),
        ("TELEREAD_NO_SUCH_THING", "1"),
        ("TELEREAD_POLICY", "/nowhere/policy.toml"),
        ("TELEREAD_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_stops_it_by_its_name(empty, name, value):
    empty.environment[name] = value
    assert name in refused(empty, "serve")


def test_a_mistake_in_the_policy_is_said_with_its_line(empty, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("grace_seconds = 20\nlease_minutes = -3\n")
    empty.environment["TELEREAD_POLICY"] = str(policy)
    assert "line 2" in refused(empty, "serve")


def test_it_speaks_tls_and_only_tls(empty, tmp_path):
    chain, key = certificate(tmp_path)
    empty.environment |= {
        "TELEREAD_WEB_TLS_CERT": str(chain),
        "TELEREAD_WEB_TLS_KEY": str(key),
    }
    empty.start()
    context = ssl.create_default_context(cafile=str(chain))
    address = f"https://127.0.0.1:{empty.web_port}"
    answer = httpx.get(f"{address}/healthz", verify=context, trust_env=False)
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        httpx.get(f"http://127.0.0.1:{empty.web_port}/healthz", trust_env=False)


def test_a_taken_port_is_said_and_ends_it(empty):
    with socket.create_server(("127.0.0.1", empty.web_port)):
        assert str(empty.web_port) in refused(empty, "serve")


def test_a_new_password_ends_sessions_and_changes_the_certificate(new_house):
    house = new_house()
    house.start()
    with Person(house, "ma") as reader:
        done = house.teleread(
            "user", "password", "ma", "--password-stdin", given="another secret\n"
        )
        assert done.returncode == 0, done.stderr
        assert reader.get("/api/session").status_code == 401
    with Person(house, "ma", password="another secret") as reader:
        assert reader.session["signing_until"] is not None

"""Does `teleread device test` say what works, what does not, and what to do?"""

import socket
import subprocess
import sys

import pydicom
import pytest
from pynetdicom import AE, evt

from gateway import commands
from gateway.cli import _coloured
from tests.protocol.test_return import Storescp, free_port

VERIFICATION = "1.2.840.10008.1.1"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.fixture
def running(new_gateway):
    """A gateway on a port that its settings name."""
    return new_gateway(dicom_port=free_port())


def add(gateway, ae_title="MODALITY", site="east", **changes):
    given = dict.fromkeys(("called", "host", "port", "modality"))
    given["one_per_image"] = False
    with gateway.parts.new_unit() as unit:
        unit.people.add_device(site=site, ae_title=ae_title, **{**given, **changes})


def test(gateway, ae_title="MODALITY", site=None):
    """Exit code, and lines by what was tried."""
    given = {"ae_title": ae_title, "at_site": site}
    answer = commands.run(gateway.parts, "device test", given)
    assert answer["error"] == ""
    lines = [line.split(None, 1) for line in answer["out"].splitlines()]
    return answer["code"], {rest.partition(":")[0]: (colour, rest) for colour, rest in lines}


test.__test__ = False


def listening(handlers=(), *classes):
    ae = AE("MODALITY")
    for name in (VERIFICATION, *classes):
        ae.add_supported_context(name)
    return ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))


def test_a_device_without_address_is_tested_against_ourselves(running):
    add(running)
    code, lines = test(running)
    assert code == 0, lines
    assert lines["echo"][0] == "-"
    with running.parts.view() as unit:
        assert unit.connection.exec_driver_sql("select count(*) from refused_caller").scalar() == 0
    for what in ("gateway", "our echo", "our worklist", "our commitment"):
        assert lines[what][0] == "green", lines
    with running.parts.view() as unit:
        assert unit.jobs.counts() == (0, 0), "nothing is left to do"


def test_a_device_that_stores_gets_one_test_object(running):
    kept = []

    def store(event):
        kept.append(event.dataset)
        return 0x0000

    server = listening([(evt.EVT_C_STORE, store)], SECONDARY)
    try:
        add(running, host="127.0.0.1", port=server.server_address[1])
        for _ in range(2):
            code, lines = test(running)
            assert code == 0, lines
            assert lines["echo"][0] == lines["store"][0] == "green"
    finally:
        server.shutdown()
    assert {str(one.PatientName) for one in kept} == {"TELEREAD^TEST OBJECT"}
    assert len({one.SOPInstanceUID for one in kept}) == 1, "a hundred tests leave one object"
    assert "TELEREAD^TEST OBJECT" in lines["store"][1]


def test_a_device_that_only_calls_gets_no_object(running):
    server = listening()
    try:
        add(running, host="127.0.0.1", port=server.server_address[1])
        code, lines = test(running)
    finally:
        server.shutdown()
    assert code == 0
    assert lines["store"][0] == "-"
    assert "nothing was sent" in lines["store"][1]


def test_a_destination_of_reports_must_take_documents(running):
    server = listening([(evt.EVT_C_STORE, lambda _: 0x0000)], SECONDARY)
    try:
        add(running, host="127.0.0.1", port=server.server_address[1], returns_reports=True)
        code, lines = test(running)
        assert (code, lines["store"][0]) == (1, "red")
        assert "Let it accept Encapsulated PDF" in lines["store"][1]
    finally:
        server.shutdown()


def test_a_device_that_is_down_is_red_with_what_to_do(running):
    add(running, host="127.0.0.1", port=free_port())
    code, lines = test(running)
    assert (code, lines["echo"][0]) == (1, "red")
    assert "cannot be reached" in lines["echo"][1]
    assert "Check host, port and AE Title" in lines["echo"][1]
    assert lines["our commitment"][0] == "green", "the other direction is tried all the same"


def test_a_gateway_that_does_not_run_is_said(new_gateway):
    gateway = new_gateway(dicom_port=0)
    object.__setattr__(
        gateway.parts,
        "settings",
        gateway.parts.settings.model_copy(update={"dicom_port": free_port()}),
    )
    add(gateway)
    code, lines = test(gateway)
    assert (code, lines["gateway"][0]) == (1, "red")
    assert "teleread serve" in lines["gateway"][1]


def test_a_device_is_tested_as_if_from_its_own_address(running):
    add(running, host="192.0.2.7")
    code, lines = test(running)
    assert code == 0, lines
    assert lines["our echo"][0] == "green"


def test_a_device_whose_name_another_one_takes_is_red(running):
    add(running, host="127.0.0.1")
    add(running, site="west", called="WEST", host="127.0.0.1")
    code, lines = test(running, site="west")
    assert code == 0, lines
    answer = commands.run(running.parts, "device test", {"ae_title": "MODALITY", "at_site": None})
    assert answer["code"] == 1
    assert "--site" in answer["error"]
    answer = commands.run(running.parts, "device test", {"ae_title": "NOBODY", "at_site": None})
    assert answer["error"] == "There is no device NOBODY."


@pytest.mark.dcmtk
@pytest.mark.dicom3tools
@pytest.mark.parametrize("returns_reports", [False, True])
def test_the_test_objects_are_as_the_standard_says(running, tmp_path, returns_reports):
    pacs = Storescp(tmp_path / "pacs")
    pacs.start()
    try:
        add(running, "PACS", host="127.0.0.1", port=pacs.port, returns_reports=returns_reports)
        code, lines = test(running, "PACS")
        assert code == 0, lines
    finally:
        pacs.stop()
    (path,) = pacs.folder.iterdir()
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []
    assert pydicom.dcmread(path).SOPClassUID == (PDF if returns_reports else SECONDARY)


def test_words_have_colours_on_a_terminal_alone(monkeypatch):
    text = "green  echo: fine\nred    store: green is only the first word"
    assert _coloured(text) == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert _coloured(text).splitlines()[0] == "\x1b[32mgreen\x1b[0m  echo: fine"
    assert _coloured(text).splitlines()[1].count("\x1b[32m") == 0


def test_nothing_is_left_open(running):
    add(running, host="127.0.0.1", port=free_port())
    test(running)
    assert running.edge.associations == 0
    with socket.create_connection(("127.0.0.1", running.port)):
        pass

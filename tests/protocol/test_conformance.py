"""Does the conformance statement say what the running edge does?"""

import re

from pydicom._uid_dict import UID_dictionary
from pynetdicom import AE, build_context

from gateway import commands

MOST_CONTEXTS = 128


def statement(gateway):
    answer = commands.run(gateway.parts, "conformance", {})
    assert answer["code"] == 0
    return answer["out"]


def listed(text):
    """SOP classes of the section on what is accepted."""
    section = text.split("## 3 ")[1].split("\n## 4 ")[0]
    services, storage = section.split("### 3.2 ")
    classes, syntaxes = storage.split("| Transfer syntax | UID |")
    uids = r"`(1\.2\.840\.10008\.[0-9.]+)`"
    return set(re.findall(uids, services + classes)), set(re.findall(uids, syntaxes))


def accepted(gateway, proposed, syntax=None):
    """Those of these SOP classes that the running edge accepts."""
    found = set()
    proposed = sorted(proposed)
    for start in range(0, len(proposed), MOST_CONTEXTS):
        ae = AE("EAST_CT")
        ae.acse_timeout = 60
        ae.requested_contexts = [
            build_context(name, syntax or ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
            for name in proposed[start : start + MOST_CONTEXTS]
        ]
        association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD")
        found |= {str(context.abstract_syntax) for context in association.accepted_contexts}
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(10)
    return found


def test_what_is_listed_is_accepted_and_nothing_else(gateway):
    everything = {uid for uid, entry in UID_dictionary.items() if "SOP Class" in entry[1]}
    classes, _ = listed(statement(gateway))
    assert len(classes) > 100
    assert accepted(gateway, everything | classes) == classes


def test_every_transfer_syntax_that_is_listed_is_accepted_and_no_other(gateway):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    _, syntaxes = listed(statement(gateway))
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    taken = {uid for uid in known | syntaxes if accepted(gateway, [ct], [uid])}
    assert taken == syntaxes


def test_it_changes_when_the_configuration_does(new_gateway):
    plain = statement(new_gateway())
    other = statement(new_gateway(ae_title="OTHER", min_free_bytes=12345))
    assert "Application Entity `TELEREAD`" in plain
    assert "Application Entity `OTHER`" in other
    assert "| `TELEREAD_MIN_FREE_BYTES` | `12345` |" in other
    assert "12345" not in plain


def test_every_line_of_a_table_has_its_columns(gateway):
    width = 0
    for line in statement(gateway).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = line.replace("\\|", "").count("|")
        assert cells == (width or cells), line
        width = cells


def test_it_changes_when_a_service_or_a_table_does(gateway, monkeypatch):
    from gateway.dicom import commitment, identifier, services

    before = statement(gateway)
    monkeypatch.setattr(identifier, "MATCHED", frozenset({0x00100020}))
    monkeypatch.setitem(commitment.REASONS, 0x0213, "a reason made up for a test")
    kept = [one for one in services._modules() if one.__name__ != "gateway.dicom.commitment"]
    monkeypatch.setattr(services, "_modules", lambda: kept)
    after = statement(gateway)
    assert "| PatientName | (0010,0010) | yes | yes |" in before
    assert "| PatientName | (0010,0010) |  | yes |" in after
    assert "| `0213` | a reason made up for a test |" in after
    assert "1.2.840.10008.1.20.1`" in before.split("## 4 ")[0]
    assert "1.2.840.10008.1.20.1`" not in after.split("## 4 ")[0]

"""Is a report still genuine long after its certificate has ended?"""

from datetime import timedelta

from gateway.assemble import assemble, utc_now
from gateway.settings import Settings
from gateway.verify import verify_document
from sample_studies.make import ecg
from sample_studies.person import DING
from sample_studies.send import send
from tests.recovery.browser import Person
from tests.recovery.house import CART


def test_a_report_outlives_its_certificate(new_house):
    house = new_house()
    house.start()
    send([ecg(DING)], CART, port=house.dicom_port)
    with Person(house, "ma") as reader:
        reader.read_and_sign(reader.tasks()[0]["id"])
    (document,) = (one for one in house.objects if one.startswith("report/"))
    pdf = house.folder / "report.pdf"
    pdf.write_bytes((house.data / "objects" / document).read_bytes())
    said = house.teleread("report", "verify", str(pdf))
    assert said.returncode == 0, said.stdout + said.stderr

    # a new password revokes the certificate the report was signed with
    words = ("user", "password", "ma", "--password-stdin")
    assert house.teleread(*words, given="another secret\n").returncode == 0
    assert house.teleread("report", "verify", str(pdf)).returncode == 0
    house.stop()

    for years in (4, 25):  # past the reader's certificate, past the whole authority
        later = assemble(
            Settings(data_dir=house.data),
            now=lambda years=years: utc_now() + timedelta(days=366 * years),
        )
        try:
            verdict = verify_document(later, pdf.read_bytes())
            assert verdict.matches, verdict.text()
            changed = bytearray(pdf.read_bytes())
            changed[len(changed) // 3] ^= 1
            assert not verify_document(later, bytes(changed)).matches
        finally:
            later.close()

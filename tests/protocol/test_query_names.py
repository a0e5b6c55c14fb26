"""Is a name found in whatever characters a device asks for it, and answered in those?"""

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from worklist.characters import decode, encoder

STUDY = "1.2.840.10008.5.1.4.1.2.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"

# what pydicom says of escape sequences it does not take out
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")

# the name as it is stored, in UTF-8; what is asked; the character set of the question
ASKED = [
    ("Wang^Xiaodong=王^小东", "王^小东", ("GB18030",)),
    ("Wang^Xiaodong=王^小东", "王^小东", ("GBK",)),
    ("Wang^Xiaodong=王^小东", "=王*", ("", "ISO 2022 IR 58")),
    ("Wang^Xiaodong=王^小东", "王小?", ("ISO_IR 192",)),
    ("Gao^Tao=峔^濤", "=峔^濤", ("GBK",)),  # the second byte of its first sign is a backslash
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^*", ("", "ISO 2022 IR 87")),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "==やまだ^たろう", ("", "ISO 2022 IR 87")),
    ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", "ﾔﾏﾀﾞ^*", ("ISO 2022 IR 13", "ISO 2022 IR 87")),
    ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", "ヤマダ^タロウ", ("ISO_IR 192",)),
    ("Ｗａｎｇ^Ｘｉａｏ", "wang^*", ("GB18030",)),
    ("Hong^Gildong=洪^吉洞=홍^길동", "==홍^길동", ("", "ISO 2022 IR 149")),
    ("Müller^Jürgen", "MÜLLER*", ("ISO_IR 100",)),
    ("Люксембург^Роза", "люксембург^*", ("ISO_IR 144",)),
    ("Διονύσιος", "Διονύσιος", ("ISO_IR 126",)),
]


@pytest.fixture
def keep(gateway, associate, image):
    """Store an image under this name, in UTF-8."""

    def one(name, **changes):
        made = image(SpecificCharacterSet="ISO_IR 192", PatientName=name, **changes)
        with associate(gateway.port, contexts=((CT, ("1.2.840.10008.1.2.1",)),)) as device:
            assert device.store(made) == 0
        return made

    return one


def ask(gateway, name, terms):
    """The matches of a C-FIND for this name; its bytes are ours, not those of pydicom."""
    identifier = Dataset()
    identifier.SpecificCharacterSet = list(terms)
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    identifier.PatientName = ""
    identifier[0x00100010]._value = _Written(encoder(terms).encode(name, "PN"))
    ae = AE("EAST_CT")
    ae.add_requested_context(STUDY)
    association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD")
    assert association.is_established
    try:
        return [found for _, found in association.send_c_find(identifier, STUDY) if found]
    finally:
        association.release()


class _Written:
    """A name that is encoded already, as pydicom's writer asks for one."""

    def __init__(self, raw):
        self._raw = raw

    def encode(self, _encodings=None):
        return self._raw


@pytest.mark.parametrize(("name", "asked", "terms"), ASKED)
def test_a_name_is_found_and_answered_in_the_set_of_the_question(gateway, keep, name, asked, terms):
    made = keep(name)
    keep("Other^Somebody=别^人", PatientID="P-OTHER")
    (found,) = ask(gateway, asked, terms)
    assert found.StudyInstanceUID == made.StudyInstanceUID
    raw = found.get_item(0x00100010).value
    said = found.SpecificCharacterSet
    said = (said,) if isinstance(said, str) else tuple(said)
    if encoder(terms).fits(name, "PN"):
        assert tuple(term or "" for term in said) == terms
        assert raw.rstrip() == encoder(terms).encode(name, "PN")
    else:
        assert said == ("ISO_IR 192",)
    assert decode(raw, said, "PN") == name


def test_a_name_that_does_not_fit_comes_in_utf_8(gateway, keep):
    keep("Hong^Gildong=洪^吉洞=홍^길동")
    (found,) = ask(gateway, "Hong*", ("ISO_IR 100",))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.get_item(0x00100010).value.decode().rstrip() == "Hong^Gildong=洪^吉洞=홍^길동"


def test_a_question_in_gb18030_that_says_latin_1_finds(gateway, keep):
    made = keep("Wang^Xiaodong=王^小东")
    latin = "王^小东".encode("gb18030").decode("latin-1")
    (found,) = ask(gateway, latin, ("ISO_IR 100",))
    assert found.StudyInstanceUID == made.StudyInstanceUID


def test_a_label_nobody_knows_is_answered_in_utf_8(gateway, keep):
    made = keep("Wang^Xiaodong=王^小东")
    (found,) = ask(gateway, "Wang*", ("ISO_IR 999",))
    assert found.StudyInstanceUID == made.StudyInstanceUID
    assert found.SpecificCharacterSet == "ISO_IR 192"

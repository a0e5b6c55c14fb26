"""Is text under a missing or wrong character set read as it was meant?"""

import pytest

from viewers.image.text import decode_text


@pytest.mark.parametrize(
    ("text", "codec", "charsets", "guessed"),
    [
        ("WANG^XIAO", "ascii", [], False),
        ("王小明", "gb18030", [], True),
        ("王小明", "gb18030", ["ISO_IR 100"], True),
        ("王小明", "gb18030", ["GB18030"], False),
        ("王小明", "gb18030", ["GBK"], False),
        ("王小明", "gb18030", ["ISO_IR 192"], True),
        ("王小明", "utf-8", [], True),
        ("王小明", "utf-8", ["ISO_IR 100"], True),
        ("王小明", "utf-8", ["ISO_IR 192"], False),
        ("王小明", "utf-8", ["GB18030"], True),
        ("联通", "gb18030", [], True),
        ("朱镕基", "gb18030", [], True),
        ("㐀䶮", "gb18030", [], True),
        ("李^四=Li^Si", "gb18030", [""], True),
        ("Müller^Jürgen", "latin-1", ["ISO_IR 100"], False),
        ("Åse^Bjørn", "latin-1", ["ISO_IR 100"], False),
        ("Müller", "latin-1", [], True),
        ("Müller", "utf-8", ["ISO_IR 192"], False),
        ("Люкceмбypг", "iso8859-5", ["ISO_IR 144"], False),
        ("ﾔﾏﾀﾞ", "shift_jis", ["ISO_IR 13"], False),
        ("王小明", "gb18030", ["", "ISO 2022 IR 58"], True),
    ],
)
def test_text_is_read_as_meant(text, codec, charsets, guessed):
    assert decode_text(text.encode(codec), charsets, person_name=True) == (text, guessed)


def test_escape_sequences_are_followed():
    raw = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab"
    text, guessed = decode_text(raw, ["", "ISO 2022 IR 58"], person_name=True)
    assert text == "Wang^XiaoDong=王^小东"
    assert not guessed


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"\x81", bytes(range(256)), b"\x1b$)Z\xff", b""])
@pytest.mark.parametrize("charsets", [[], ["GB18030"], ["ISO_IR 192"], ["nonsense"], ["ISO 2022"]])
def test_no_bytes_and_no_label_raise(raw, charsets):
    text, _ = decode_text(raw, charsets)
    assert isinstance(text, str)

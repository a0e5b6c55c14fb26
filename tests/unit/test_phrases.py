"""Are the phrases whole: in both languages, to be found by their letters, right for the study?"""

import tomllib

import pytest

from gateway import phrases
from gateway.phrases import KINDS, phrase_set

WRITTEN = [kind for kind in KINDS if phrase_set(kind).groups]
GROUPS = [(kind, group) for kind in WRITTEN for group in phrase_set(kind).groups]


def is_han(character):
    return "\u3400" <= character <= "\u9fff"


def test_the_common_kinds_have_phrases():
    assert {"ECG", "CT", "DX", "US"} <= set(WRITTEN)
    codes = {(kind, group.code) for kind, group in GROUPS}
    assert {("CT", "chest"), ("CT", "head"), ("CT", "abdomen")} <= codes
    assert {("DX", "chest"), ("DX", "bones"), ("US", "obstetric"), ("US", "heart")} <= codes
    assert len(phrase_set("ECG").groups[0].phrases) >= 40


def test_every_file_is_one_of_a_kind():
    folder = phrases._FOLDER
    assert {path.stem for path in folder.iterdir()} == {kind.lower() for kind in WRITTEN}
    for path in folder.iterdir():
        assert set(tomllib.loads(path.read_text("utf-8"))) <= {"normal", "group", "elsewhere"}


@pytest.mark.parametrize("kind", WRITTEN)
def test_codes_are_unique_within_a_kind_and_texts_within_a_group(kind):
    codes = [one.code for group in phrase_set(kind).groups for one in group.phrases]
    assert len(codes) == len(set(codes))
    for group in phrase_set(kind).groups:
        for texts in ([one.text.zh for one in group.phrases], [o.text.en for o in group.phrases]):
            assert len(texts) == len(set(texts))


@pytest.mark.parametrize(("kind", "group"), GROUPS, ids=lambda one: getattr(one, "code", one))
def test_each_phrase_is_whole(kind, group):
    assert len(group.phrases) >= 9
    for one in group.phrases:
        assert one.text.zh.strip() == one.text.zh and any(map(is_han, one.text.zh)), one.code
        assert one.text.en.strip() == one.text.en and one.text.en, one.code
        assert not any(map(is_han, one.text.en)), one.code
        assert one.part in {"findings", "impression", "both"}
        assert one.code.isascii() and one.code.isalnum() and one.code.isupper()
        # the same blanks to fill in, and findings that are sentences
        assert one.text.zh.count("__") == one.text.en.count("__"), one.code
        ends = one.text.zh[-1] == "。", one.text.en[-1] == "."
        assert ends == ((True, True) if one.part == "findings" else (False, False)), one.code


@pytest.mark.parametrize(("kind", "group"), GROUPS, ids=lambda one: getattr(one, "code", one))
def test_pinyin_has_a_letter_for_each_syllable(kind, group):
    for one in group.phrases:
        said = [c for c in one.text.zh if is_han(c) or (c.isascii() and c.isalnum())]
        assert len(one.pinyin) == len(said), one.code
        for letter, character in zip(one.pinyin, said, strict=True):
            assert letter == character.lower() if character.isascii() else letter.islower()


@pytest.mark.parametrize(("kind", "group"), GROUPS, ids=lambda one: getattr(one, "code", one))
def test_favourites_have_keys_of_their_own(kind, group):
    keys = [one.key for one in group.phrases if one.key is not None]
    assert keys == list(range(1, len(keys) + 1)) and 3 <= len(keys) <= 9


def test_some_initials_that_have_two_readings():
    by_text = {one.text.zh: one.pinyin for _, group in GROUPS for one in group.phrases}
    assert by_text["完全性右束支传导阻滞"] == "wqxyszcdzz"
    assert by_text["窦性心动过速"] == "dxxdgs"
    assert by_text["心房颤动伴快速心室率"] == "xfcdbksxsl"
    assert by_text["左右上肢导联反接可能，请重做"] == "zyszdlfjknqcz"


@pytest.mark.parametrize("kind", WRITTEN)
def test_normal_reports_are_whole_and_the_general_one_names_no_part(kind):
    found = phrase_set(kind)
    for normal in (found.normal, *(group.normal for group in found.groups)):
        assert all((normal.findings.zh, normal.findings.en))
        assert all((normal.impression.zh, normal.impression.en))
    for group in found.groups if len(found.groups) > 1 else ():
        text = f"{found.normal.findings.zh} {found.normal.findings.en.upper()}"
        assert not any(word in text for word in group.about)


@pytest.mark.parametrize(
    ("kind", "said", "group"),
    [
        ("ECG", (None,), "rhythm"),
        ("CT", ("Chest routine", "CHEST"), "chest"),
        ("CT", ("胸部平扫",), "chest"),
        ("CT", ("颅脑CT",), "head"),
        ("CT", ("胸腹部平扫",), None),  # two parts: nothing is taken for granted
        ("CT", ("胸椎CT",), None),
        ("CT", ("", None), None),
        ("DX", ("胸部正位",), "chest"),
        ("DX", ("左膝关节正侧位",), "bones"),
        ("DX", ("腹部立位",), None),
        ("US", ("超声心动图",), "heart"),
        ("US", ("颈动脉超声",), None),
        ("US", ("中期妊娠 OBSTETRIC",), "obstetric"),
        ("MR", ("腰椎平扫",), "spine"),
        ("OT", ("ANYTHING",), None),
    ],
)
def test_a_study_names_its_group_or_none(kind, said, group):
    found = phrase_set(kind).group_of(*said)
    assert (found and found.code) == group

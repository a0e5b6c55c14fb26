"""Does the index find what the matching rules of PS3.4 section C.2.2.2 say, on every engine?"""

import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.index import Index, open_engine
from storage.matching import Between, Clock, Like, Moment, OneOf, is_wild, name_patterns, pattern
from storage.migrate import upgrade
from storage.query import MODALITIES, MOMENT, Query
from worklist.arrival import Arrival, Study
from worklist.patient import Patient
from worklist.priority import Priority
from worklist.site import Site, SiteKind

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
SITES = frozenset({"hospital", "east"})

NAMES = (
    "Ding^Wei=丁^伟",
    "DING^WEI",
    "Ding",
    "Dingle^Wei",
    "Müller^Änne",
    "Muller^Anne",
    "Mu\u0308ller",
    "O'Neil_100%^Li",
    "O'NeilX100Y^Li",
    "Back\\slash^A",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "=丁^秀英",
    "Ding^Wei^^Dr",
    "がき",
    "かき",
    "Øre^Łukasz",
    "김^철수",
    "丁伟",
)
IDS = ("P-1", "p-1", "P-10", "P_1", "P%1", "Q*9", "Q?9", "a\\b", "Ä1", "ä1", "1", "")
DAYS = (None, date(2026, 1, 1), date(2026, 1, 2), date(2026, 2, 28), date(2025, 12, 31))
CLOCKS = (None, "08", "0830", "083000", "083000.5", "235959.999999", "nonsense", "000000")
KINDS = ("CT", "MR", "US")


class Row:
    """One study as the model sees it."""

    def __init__(self, number):
        self.uid = f"1.2.{number}"
        self.site = ("east", "west", "hospital")[number % 3]
        self.name = NAMES[number % len(NAMES)]
        self.patient_id = IDS[number % len(IDS)] or None
        self.day = DAYS[number % len(DAYS)]
        self.clock = CLOCKS[number % len(CLOCKS)]
        self.kind = KINDS[number * 7 // 5 % len(KINDS)]

    def study(self):
        groups = [*self.name.split("="), "", ""]
        shown = (groups[1] or groups[0]).replace("^", " ")
        return Study(
            id=0,
            site=self.site,
            uid=self.uid,
            kind="image",
            patient=Patient(shown, None, self.patient_id, "F", None),
            priority=Priority.ROUTINE,
            arrival=Arrival.COMPLETE,
            received_at=NOW,
            last_received_at=NOW,
            study_date=self.day,
            modalities=frozenset({self.kind}),
            series_count=1,
            instance_count=1,
            newest_instance=1,
        )

    def attributes(self):
        parts = zip(("Alphabetic", "Ideographic", "Phonetic"), self.name.split("="), strict=False)
        name = {group: text for group, text in parts if text}
        return {"00100010": {"vr": "PN", "Value": [name]}}


# more than any of the lists is long, and prime to them all: most pairs of values occur
ROWS = [Row(number) for number in range(181)]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def find(request, tmp_path_factory):
    """A function that gives the UIDs of what matches these keys at a level."""
    if request.param == "postgres":
        template = request.getfixturevalue("postgres_template")
        url = request.getfixturevalue("new_database")(template)
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('query') / 'index.sqlite'}"
        upgrade(url)
    index = _filled(url)
    yield lambda level, keys: _found(index, level, keys)
    index.close()


def _filled(url):
    index = Index(open_engine(url))
    with index.unit() as unit:
        for key in ("hospital", "east", "west"):
            kind = SiteKind.HOSPITAL if key == "hospital" else SiteKind.CENTER
            site = Site(key, key, key, kind, "Asia/Shanghai", None, frozenset())
            unit.people.save_site(site, NOW)
        for row in ROWS:
            kept = unit.studies.add(row.study(), row.clock, row.attributes())
            unit.studies.add_series(
                study_id=kept.id,
                series_uid=f"{row.uid}.1",
                modality=row.kind,
                number=1,
                description=None,
                body_part=None,
                instance_count=1,
                attributes={},
            )
    return index


def _found(index, level, keys):
    with index.view() as unit:
        query = Query(unit.connection)
        ids = query.matching(level, SITES, keys)
        name = "series_uid" if level == "series" else "study_uid"
        rows = query.fields(level, ids, (name,))
        assert [row.own_id for row in rows] == list(ids)
        return sorted(getattr(row, name).removesuffix(".1") for row in rows)


def expected(holds):
    return sorted(row.uid for row in ROWS if row.site in SITES and holds(row))


# --- the model -----------------------------------------------------------------------------------


def wild(value, text):
    """`*` any number of characters, `?` one, everything else itself: tried out, without regex."""
    if not value:
        return not text
    if value[0] == "*":
        return any(wild(value[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and value[0] in ("?", text[0]) and wild(value[1:], text[1:])


def bare(text):
    """Letters without case and accents, words apart by one space."""
    letters = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).lower())
    plain = "".join(one for one in letters if not 0x300 <= ord(one) < 0x370)
    plain = plain.replace("ø", "o").replace("ł", "l")
    return " ".join(unicodedata.normalize("NFC", plain).replace("^", " ").split())


def is_chinese(text):
    return any("\u3400" <= one <= "\u9fff" for one in text)


def named(value, row):
    """One group of a query's name against any group of the row's."""
    asked = {bare(value)}
    if is_chinese(value):
        asked.add(bare(value).replace(" ", ""))
    if re.search(r"[\^ ]\*+$", value):
        asked.add(bare(value.rstrip("*^ ")))
    for group in row.name.split("="):
        text = bare(group)
        only = "".join(one for one in text if one.isalpha())
        if only and all("\u3400" <= one <= "\u9fff" for one in only):
            text = text.replace(" ", "")
        if text and any(wild(one, text) for one in asked):
            return True
    return False


def span(clock):
    """The moments a TM stands for, as six digits and a fraction."""
    if clock is None or not re.fullmatch(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", clock):
        return None
    whole, _, part = clock.partition(".")
    first = whole.ljust(6, "0") + part.ljust(6, "0")
    last = whole + "235959"[len(whole) :] + part.ljust(6, "9")
    return first, last


def at(moment):
    return moment.strftime("%H%M%S%f")


# --- what is asked -------------------------------------------------------------------------------


def pieces(values, extra):
    """A stored value, with pieces replaced by wildcards, or something like it."""
    letters = st.sampled_from(sorted(set("".join(values)) | set(extra)))

    @st.composite
    def made(draw):
        text = list(draw(st.sampled_from([one for one in values if one])))
        for _ in range(draw(st.integers(0, 3))):
            if not text:
                break
            place = draw(st.integers(0, len(text) - 1))
            end = draw(st.integers(place, min(place + 4, len(text))))
            text[place:end] = draw(st.sampled_from(["*", "?", "**", "*?", ""])) or draw(letters)
        return "".join(text)

    return made()


MODEL = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MODEL
@given(value=pieces(IDS, "*?%_\\"))
def test_text_is_matched_by_wildcards(find, value):
    if not value.strip("* "):
        return
    key = Like((pattern(value),), case=True) if is_wild(value) else OneOf((value,))
    keys = {"patient_id": key}
    held = expected(lambda row: row.patient_id is not None and wild(value, row.patient_id))
    assert find("studies", keys) == held
    assert find("series", keys) == held


GROUPS = tuple(group for name in NAMES for group in name.split("=") if group)


@MODEL
@given(value=pieces(GROUPS, "*?%_\\^ "))
def test_names_are_matched_without_case_and_accents(find, value):
    if not value.strip("*^ ") or "=" in value:
        return
    found = find("studies", {"patient_name": Like(name_patterns(value))})
    assert found == expected(lambda row: named(value, row))


DATES = st.dates(date(2025, 12, 29), date(2026, 3, 2))


@MODEL
@given(
    ends=st.tuples(st.none() | DATES, st.none() | DATES), kind=st.none() | st.sampled_from(KINDS)
)
def test_days_are_matched_by_range(find, ends, kind):
    first, last = ends
    keys = {"study_date": Between(first, last)}
    if kind:
        keys[MODALITIES] = OneOf((kind,))

    def holds(row):
        if row.day is None or (kind and row.kind != kind):
            return False
        return (first is None or first <= row.day) and (last is None or row.day <= last)

    assert find("studies", keys) == expected(holds)


TIMES = st.times(time(7), time.max) | st.sampled_from(
    [time(8), time(8, 30), time(8, 30, 0, 500_000), time(23, 59, 59, 999_999), time(0)]
)


@MODEL
@given(ends=st.tuples(st.none() | TIMES, st.none() | TIMES))
def test_times_are_matched_by_range(find, ends):
    first, last = ends

    def holds(row):
        found = span(row.clock)
        if found is None:
            return False
        return (first is None or at(first) <= found[0]) and (last is None or found[0] <= at(last))

    assert find("studies", {"study_time": Clock(first, last)}) == expected(holds)


NEW_YEAR = datetime.combine(date(2026, 1, 1), time())
MOMENTS = st.datetimes(NEW_YEAR - timedelta(1), NEW_YEAR + timedelta(hours=36))


@MODEL
@given(first=st.none() | MOMENTS, hours=st.none() | st.integers(0, 40))
def test_date_and_time_are_matched_together(find, first, hours):
    last = None if hours is None else (first or NEW_YEAR) + timedelta(hours=hours)

    def holds(row):
        if row.day is None:
            return False
        clock = (span(row.clock) or ("000000000000",))[0]
        moment = f"{row.day:%Y%m%d}{clock}"
        begun = first is None or f"{first:%Y%m%d%H%M%S%f}" <= moment
        return begun and (last is None or moment <= f"{last:%Y%m%d%H%M%S%f}")

    assert find("studies", {MOMENT: Moment(first, last)}) == expected(holds)


def test_uids_are_matched_by_list(find):
    wanted = ("1.2.3", "1.2.4", "1.2.5", "1.2.999")
    keys = {"study_uid": OneOf(wanted)}
    assert find("studies", keys) == expected(lambda row: row.uid in wanted)
    keys = {"series_uid": OneOf(tuple(f"{one}.1" for one in wanted))}
    assert find("series", keys) == expected(lambda row: row.uid in wanted)


def test_the_newest_study_of_each_patient_speaks_for_the_patient(find):
    newest = {(row.site, row.patient_id): row.uid for row in ROWS if row.patient_id}
    found = find("patients", {})
    assert found == sorted(uid for (site, _), uid in newest.items() if site in SITES)

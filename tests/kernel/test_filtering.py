"""Filters and orders: what parses, what it means to PostgreSQL, and that nothing of it ever becomes SQL."""

from collections.abc import Iterator
from dataclasses import asdict
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from services.kernel.db import Scope, Session, compiled
from services.kernel.errors import FilterInvalid, OrderByInvalid, PageTokenInvalid
from services.kernel.filtering import ListQuery, Part
from services.kernel.filtering.syntax import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_RESTRICTIONS,
    Comparator,
    Node,
    Restriction,
    Value,
    parse,
)
from services.kernel.paging import Page, Pager
from tests.support.notes import ANY_TEXT, ANY_TREE, FIELDS, KNOWN_TREE, NOTES, ORDERS, ROWS, Note, passes, sorted_by

PAGER = Pager(b"k" * 32)
# One session serves all examples: they only read.
reads_only = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def session(kernel_owner_url: str) -> Iterator[Session]:
    """A session with the notes in a table of its own."""
    with psycopg.connect(kernel_owner_url, autocommit=True) as connection:
        opened = Session(connection, Scope("plinth_tenancy"))
        opened.run(text(str(CreateTable(NOTES).compile(dialect=postgresql.dialect()))))  # type: ignore[no-untyped-call]
        add = compiled(NOTES.insert().values({column.name: bindparam(column.name) for column in NOTES.columns}))
        for row in ROWS:
            opened.run(add, **asdict(row) | {"facts": Jsonb(row.facts)})
        yield opened


def read(session: Session, wanted: ListQuery, page: Page) -> list[Note]:
    part = wanted.part(page)
    statement = part.narrow(select(NOTES)).limit(bindparam("count"))
    return session.all(compiled(statement), Note, count=page.count, **part.values)


def titles(session: Session, filter: str) -> set[str]:
    wanted = FIELDS.query(filter, "")
    return {row.title for row in read(session, wanted, PAGER.page("", 500))}


class TestSyntax:
    @given(ANY_TREE)
    def test_what_is_printed_reads_back_as_it_was(self, tree: Node) -> None:
        assert parse(str(tree)) == tree

    @given(st.one_of(ANY_TEXT, st.text("ab =!<>:()\"'*\\-ANDORT\n,", max_size=30)))
    @example("a = 1 AND")
    @example("((((a = 1))))")
    def test_any_text_is_read_or_refused_with_a_position_in_it(self, filter: str) -> None:
        try:
            tree = parse(filter)
        except FilterInvalid as refusal:
            position = int(refusal.metadata["position"])
        else:
            position = 1
            assert parse(str(tree or "")) == tree
        assert 1 <= position <= len(filter) + 1

    @pytest.mark.parametrize(
        ("filter", "meant"),
        [
            ("a=1 AND b=2 OR c=3", "a = 1 AND (b = 2 OR c = 3)"),
            ("a=1 b=2 OR c=3 AND d=4", "a = 1 AND (b = 2 OR c = 3) AND d = 4"),
            ("-a=1 OR NOT(b:x)", "NOT a = 1 OR NOT b:x"),
            ("(a=1)", "a = 1"),
            ("NOTE=1 ANDY=2 ORB=3", "NOTE = 1 AND ANDY = 2 AND ORB = 3"),
            ("a = -5", 'a = "-5"'),
            ("t>=2026-03-01T12:00:00+01:00", 't >= "2026-03-01T12:00:00+01:00"'),
            ("""a = 'it"s' b = "it's" """, """a = "it\\"s" AND b = "it's\""""),
            ("a = pl*", 'a = "pl*"'),
            (r'a = "2\*3"', r'a = "2\*3"'),
            ("a:*", "a:*"),
            ("labels.env:prod", "labels.env:prod"),
            (" \t\r\n", ""),
        ],
    )
    def test_reads_as_aip_160_says(self, filter: str, meant: str) -> None:
        assert str(parse(filter) or "") == meant

    @pytest.mark.parametrize(
        ("filter", "position", "problem"),
        [
            ("a", 2, "is expected"),
            ("a = 1 and b = 2", 11, "write AND in capitals"),
            ("a = ", 5, "a value is expected"),
            ("a = AND", 5, "a value is expected"),
            ("AND a = 1", 1, "a field is expected"),
            ("a = 1 AND ", 11, "a field is expected"),
            ("a = 1 OR AND b = 1", 10, "a field is expected"),
            ("NOT NOT a = 1", 5, "a field is expected"),
            ("(a = 1", 1, "this parenthesis is not closed"),
            ("a = 1)", 6, "this parenthesis closes nothing"),
            ("()", 2, "a field is expected"),
            ('a = "x', 5, "this quote is not closed"),
            (r'a = "\n"', 6, "a backslash stands before"),
            ("a = x\\*", 6, "a field is expected"),
            ("f(a)", 1, "there are no functions"),
            ("42", 1, "a field is expected"),
            ("a == 1", 4, "a value is expected"),
            ("a = 'x\0'", 7, "this character cannot stand in a text"),
            ("a = 1; drop table x", 13, "is expected"),
        ],
    )
    def test_says_where_it_is_wrong(self, filter: str, position: int, problem: str) -> None:
        with pytest.raises(FilterInvalid) as raised:
            parse(filter)
        assert raised.value.metadata == {"position": str(position)}
        [violation] = raised.value.violations
        assert violation.field == "filter"
        assert violation.description.startswith(f"at character {position}: ")
        assert problem in violation.description

    def test_length_depth_and_number_are_bounded(self) -> None:
        deep = "(" * MAX_DEPTH + "a = 1" + ")" * MAX_DEPTH
        many = " ".join(["a=1"] * MAX_RESTRICTIONS)
        long = f"a = {'x' * (MAX_LENGTH - 4)}"
        for filter in (deep, many, long):
            assert parse(filter) is not None
        for filter in (f"({deep})", f"{many} a=1", f"{long}x", "(" * MAX_LENGTH, "-" * MAX_LENGTH):
            with pytest.raises(FilterInvalid):
                parse(filter)


class TestFilter:
    @reads_only
    @given(KNOWN_TREE)
    def test_lets_through_what_it_says(self, session: Session, tree: Node) -> None:
        wanted = FIELDS.query(str(tree), "")
        found = read(session, wanted, PAGER.page("", 500))
        assert {row.note_id for row in found} == {row.note_id for row in ROWS if passes(tree, row)}

    def test_wildcards_and_their_like_in_sql_are_not_mixed_up(self, session: Session) -> None:
        assert titles(session, "title = pl*") == {"plan"}
        assert titles(session, "title = *b") == {"a_b", "a*b", "a\nb"}
        assert titles(session, r'title = "a\*b"') == {"a*b"}
        assert titles(session, "title = a_b") == {"a_b"}
        assert titles(session, "title = 100%*") == {"100%"}
        assert titles(session, "title:PLAN") == {"plan", "Plan B"}
        assert titles(session, r'title:"\\"') == {"back\\slash"}

    def test_a_repeated_field_has_a_whole_text_or_any(self, session: Session) -> None:
        def labels(filter: str) -> set[str]:
            found = read(session, FIELDS.query(filter, ""), PAGER.page("", 500))
            return {",".join(row.labels) for row in found}

        assert labels("labels:red") == {"red", "red,a*b"}
        assert labels("NOT labels:red") == {"", "Red"}
        assert labels("labels:*") == {"red", "red,a*b", "Red"}
        assert labels("-labels:*") == {""}

    def test_what_is_not_set_equals_nothing(self, session: Session) -> None:
        def count(filter: str) -> int:
            return len(read(session, FIELDS.query(filter, ""), PAGER.page("", 500)))

        unset = sum(row.score is None for row in ROWS)
        assert count("NOT score:*") == unset
        assert count("score:*") == len(ROWS) - unset
        assert count("score != 0") == len(ROWS) - count("score = 0")
        assert count("NOT score < 0") == len(ROWS) - count("score < 0")
        assert count("score >= 0") == len(ROWS) - unset - count("score < 0")

    @pytest.mark.parametrize(
        ("filter", "position", "problem"),
        [
            ("title = x AND nope = 1", 15, "there is no such field; there are due_time, facts, labels"),
            ("size = 1", 1, "there is no such field"),
            ("note.size = seven", 13, "note.size is compared with a whole number"),
            (f"note.size = {2**63}", 13, "a whole number"),
            ("note.size = 7*", 13, "a whole number"),
            ("note.size = '١'", 13, "a whole number"),
            ("score = nan", 9, "a number"),
            ("score = 1e999", 9, "a number"),
            ("pinned = yes", 10, "true or false"),
            ("pinned < true", 1, "pinned is not compared by `<`"),
            ("state = open", 9, "one of STATE_OPEN, STATE_SHUT"),
            ("state >= STATE_OPEN", 1, "not compared by `>=`"),
            ("state:STATE_OPEN", 1, "not compared by `:` but with `*`"),
            ("due_time > 2026-03-01", 12, "a moment like"),
            ("due_time > 20260301T120000Z", 12, "a moment like"),
            ("due_time > 2026-03-01T12:00:00", 12, "a moment like"),
            ("due_time > 2026-02-30T12:00:00Z", 12, "a moment like"),
            ("due_time > 0001-01-01T00:00:00+01:00", 12, "a moment like"),
            ("owner = users/1", 9, "users/{user}"),
            ("labels = red", 1, "not compared by `=`"),
            ("title < pl*", 9, "a wildcard stands in a value of"),
        ],
    )
    def test_says_what_cannot_be_compared(self, filter: str, position: int, problem: str) -> None:
        with pytest.raises(FilterInvalid) as raised:
            FIELDS.query(filter, "")
        [violation] = raised.value.violations
        assert violation.description.startswith(f"at character {position}: ")
        assert problem in violation.description

    @given(ANY_TEXT, ANY_TEXT)
    def test_no_value_becomes_sql(self, one: str, other: str) -> None:
        def part(value: str) -> Part:
            quoted = str(Restriction("title", Comparator.NE, Value((value,))))
            return FIELDS.query(quoted, "").part(PAGER.page("", 10))

        first, second = part(one), part(other)
        assert first == second
        assert hash(first) == hash(second)
        assert compiled(first.narrow(select(NOTES))).sql == compiled(second.narrow(select(NOTES))).sql
        assert first.values == {"filter_0": one}

    @pytest.mark.parametrize("name", ["title'--", 'title"', "title;", "pg_sleep(9)", "note_id", "owner_id"])
    def test_no_name_becomes_sql(self, name: str) -> None:
        with pytest.raises(FilterInvalid):
            FIELDS.query(f"{name} = x", "")
        with pytest.raises(OrderByInvalid):
            FIELDS.query("", name)

    @given(KNOWN_TREE, KNOWN_TREE)
    def test_those_of_one_shape_have_one_statement(self, tree: Node, other: Node) -> None:
        parts = [FIELDS.query(str(filter), "").part(PAGER.page("", 10)) for filter in (tree, other)]
        statements = [compiled(part.narrow(select(NOTES))).sql for part in parts]
        assert (parts[0] == parts[1]) == (statements[0] == statements[1])


class TestOrder:
    @reads_only
    @given(ORDERS, st.integers(1, 30))
    def test_pages_are_the_whole_in_order_and_none_twice(
        self, session: Session, terms: list[tuple[str, bool]], size: int
    ) -> None:
        order_by = ", ".join(f"{name} desc" if descending else name for name, descending in terms)
        wanted = FIELDS.query("", order_by)
        seen: list[Note] = []
        token = ""
        while True:
            page = PAGER.page(token, size, "ListNotes")
            shown, token = PAGER.cut(page, read(session, wanted, page), wanted.key_of)
            seen += shown
            if not token:
                break
        assert seen == sorted_by(terms)

    @reads_only
    @given(KNOWN_TREE, st.integers(1, 10))
    def test_pages_of_a_filtered_list_are_the_whole(self, session: Session, tree: Node, size: int) -> None:
        wanted = FIELDS.query(str(tree), "due_time desc, title")
        whole = read(session, wanted, PAGER.page("", 500))
        seen: list[Note] = []
        token = ""
        while True:
            page = PAGER.page(token, size, "ListNotes")
            shown, token = PAGER.cut(page, read(session, wanted, page), wanted.key_of)
            seen += shown
            if not token:
                break
        assert seen == whole

    @pytest.mark.parametrize("text", ["title,  due_time   desc", " title asc ,due_time desc", "title,due_time desc"])
    def test_spelling_does_not_matter(self, text: str) -> None:
        assert [str(term) for term in FIELDS.query("", text).terms[:-1]] == ["title", "due_time desc"]

    def test_a_key_of_another_length_is_no_key(self) -> None:
        with pytest.raises(PageTokenInvalid):
            FIELDS.query("", "title").part(Page(1, (UUID(int=1),), ()))

    @pytest.mark.parametrize(
        ("order_by", "position", "problem"),
        [
            ("nope", 1, "they are by due_time, note.size, state, title"),
            ("title, score", 8, "rows are not sorted by this"),
            ("title, ", 7, "a field is expected"),
            (",", 1, "a field is expected"),
            ("title down", 7, "`desc` is expected, or nothing"),
            ("title DESC", 7, "`desc` is expected, or nothing"),
            ("title, title desc", 8, "named once only"),
            ("title desc desc", 1, "a field is expected"),
            ("title\tdesc", 1, "a field is expected"),
            ("x" * 501, 501, "at most 500 characters"),
        ],
    )
    def test_says_where_it_is_wrong(self, order_by: str, position: int, problem: str) -> None:
        with pytest.raises(OrderByInvalid) as raised:
            FIELDS.query("", order_by)
        [violation] = raised.value.violations
        assert violation.field == "order_by"
        assert violation.description.startswith(f"at character {position}: ")
        assert problem in violation.description
        assert raised.value.metadata == {"position": str(position)}

    def test_an_order_of_one_direction_is_one_comparison_of_rows(self) -> None:
        page = Page(10, ("x", UUID(int=1)), ())
        sql = compiled(FIELDS.query("", "title").part(page).narrow(select(NOTES))).sql
        assert "(filtered_notes.title, filtered_notes.note_id) > (" in sql

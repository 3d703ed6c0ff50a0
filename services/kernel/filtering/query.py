"""What a request asks of a list: the page's share of its statement, for any repository to add its own to."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Select

from services.kernel.errors import PageTokenInvalid
from services.kernel.filtering.condition import Condition
from services.kernel.filtering.kinds import Field
from services.kernel.filtering.order import Term, after, parse_order
from services.kernel.filtering.syntax import parse
from services.kernel.paging import KeyPart, Page


@dataclass(frozen=True, slots=True)
class Part:
    """One page's conditions and order, equal to all others of the same shape, with the values of its parameters.

    `unset` says of which terms the row before the page has no value; None: the first page.
    """

    shape: tuple[object, ...]
    values: dict[str, object] = field(compare=False)
    condition: Condition | None = field(compare=False, repr=False)
    terms: tuple[Term, ...] = field(compare=False, repr=False)
    unset: tuple[bool, ...] | None = field(compare=False, repr=False)

    def narrow(self, statement: Select[Any]) -> Select[Any]:
        """The statement with these conditions and this order."""
        if self.condition is not None:
            statement = statement.where(self.condition.sql)
        if self.unset is not None:
            statement = statement.where(after(self.terms, self.unset))
        return statement.order_by(*(term.sql for term in self.terms))


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What one request asks of a list, whatever the page."""

    condition: Condition | None
    terms: tuple[Term, ...]

    def part(self, page: Page) -> Part:
        """The page's share of the statement. Raises PageTokenInvalid."""
        values: dict[str, object] = {}
        shape: tuple[object, ...] = tuple(map(str, self.terms))
        if self.condition is not None:
            values |= self.condition.values
            shape += self.condition.shape
        unset = None
        if page.after is not None:
            if len(page.after) != len(self.terms):
                raise PageTokenInvalid
            unset = tuple(value is None for value in page.after)
            values |= {f"after_{n}": value for n, value in enumerate(page.after) if value is not None}
        return Part((*shape, unset), values, self.condition, self.terms, unset)

    def key_of(self, row: object) -> tuple[KeyPart, ...]:
        """Where a row stands in the order, as the token of the page after it says."""
        return tuple(getattr(row, term.column.name) for term in self.terms)


class Fields:
    """What a list may be filtered and sorted by. `id` ends every order, so that no two rows stand at one place.

    Without an order of its own a list is in that of `default_order`, or of the ids alone: `newest_first`, the greatest
    one first.
    """

    def __init__(self, *fields: Field, id: Column[Any], default_order: str = "", newest_first: bool = False) -> None:
        self._fields = {field.name: field for field in fields}
        self._sortable = {field.name: field.column for field in fields if field.sortable}
        self._id = id
        self._default = parse_order(default_order, self._sortable)
        self._newest_first = newest_first

    def query(self, filter: str, order_by: str = "") -> ListQuery:
        """What a request asks; empty texts: every row, in the default order. Raises FilterInvalid or OrderByInvalid."""
        tree = parse(filter)
        terms = parse_order(order_by, self._sortable) or self._default
        last = Term("", self._id, descending=terms[-1].descending if terms else self._newest_first)
        return ListQuery(None if tree is None else Condition(tree, self._fields), (*terms, last))

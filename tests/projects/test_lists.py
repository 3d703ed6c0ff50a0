"""What lists can be filtered and sorted by: what the comments of the contract say."""

import re

import pytest

from services.kernel.errors import FilterInvalid, InvalidArgument, OrderByInvalid
from services.kernel.filtering import Fields
from services.projects.repository import activity, approvals, projects, tasks
from tools import deps

LISTS = [
    ("project_service", "ListProjects", projects.FIELDS),
    ("task_service", "ListTasks", tasks.FIELDS),
    ("approval_service", "ListApprovals", approvals.FIELDS),
    ("activity_service", "ListActivity", activity.FIELDS),
]


def said(file: str, method: str, language: str) -> set[str]:
    """The fields that the comment of a method lists behind `filter` or `order_by`."""
    text = (deps.ROOT / f"proto/plinth/projects/v1/{file}.proto").read_text()
    *_, comment = text.partition(f"  rpc {method}(")[0].rpartition("\n\n")
    sentence = re.search(rf"`{language}` \(AIP-\d+\) knows ([^.]*)\.", re.sub(r"\n *//", "", comment))
    return set(re.findall(r"`([a-z_]+)`", sentence[1])) - {"desc"} if sentence is not None else set()


def told(refusal: InvalidArgument) -> set[str]:
    """The fields that a refusal lists."""
    [violation] = refusal.violations
    listed = re.search(r"(?:there are|they are by) (.*)", violation.description)
    return set(listed[1].split(", ")) - {""} if listed is not None else set()


@pytest.mark.parametrize(("file", "method", "fields"), LISTS, ids=[method for _, method, _ in LISTS])
class TestComments:
    def test_list_what_a_filter_knows(self, file: str, method: str, fields: Fields) -> None:
        with pytest.raises(FilterInvalid) as refused:
            fields.query("nothing = 1")
        assert said(file, method, "filter") == told(refused.value)

    def test_list_what_an_order_knows(self, file: str, method: str, fields: Fields) -> None:
        with pytest.raises(OrderByInvalid) as refused:
            fields.query("", "nothing")
        assert said(file, method, "order_by") == told(refused.value)

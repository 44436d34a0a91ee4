"""The People tab's tables, from rows whose numbers are known."""

import pytest
from conftest import PNG, start_run

from app.store.rows import Agreement, AgreementRow, PreferenceRow, RaterRow, Said
from app.ui import people_views as views
from app.ui.table import NOTHING
from app.ui.tabs.people import _shown
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup, PreferenceLearned


def agreed(name, kind, other, tau, count=1):
    return AgreementRow(name=name, kind=kind, other=other, tau=tau, count=count)


AGREEMENTS = [
    agreed("ann", "person", "bob", 0.5, 3),
    agreed("ann", "person", "eve", -0.5, 1),
    agreed("ann", "reward", "brightness", 0.25, 4),
    agreed("ann", "self", "ann", 1.0, 2),
    agreed("bob", "reward", "shapes_partial", 0.0, 1),
]


def cells(found):
    return [row["cells"] for row in found["rows"]]


def rater(name, **changes):
    return RaterRow(**{"rater": name, "num_labels": 4, "num_repeats": 2, "seconds_per_label": 3.25} | changes)


def test_a_person_is_set_beside_themselves_the_others_and_each_reward():
    found = views.rater_table([rater("ann"), rater("bob", num_repeats=0)], AGREEMENTS)
    assert [column["label"] for column in found["columns"]][-2:] == ["brightness", "shapes_partial"]
    assert cells(found) == [
        ["ann", "4", "3.2", "2", "+1.00 (2)", "+0.25 (4)", "+0.25 (4)", NOTHING],
        ["bob", "4", "3.2", "0", NOTHING, NOTHING, NOTHING, "+0.00 (1)"],
    ]


def test_a_prompt_has_a_row_of_its_own():
    on_prompts = [agreed("a <b>cat</b>", "person", "", 0.5, 2), agreed("a <b>cat</b>", "reward", "brightness", -1.0)]
    assert cells(views.prompt_table(on_prompts)) == [["a <b>cat</b>", NOTHING, "+0.50 (2)", "-1.00 (1)"]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["version-2", "3", "9", "8", "0.750", "0.100", "50", "65%: 60%"]),
        (
            {"accuracy": None, "calibration_error": None, "bins": ()},
            ["version-2", "3", "9", "8", NOTHING, NOTHING, "0", NOTHING],
        ),
    ],
)
def test_a_version_says_how_far_it_may_be_trusted(changes, expected):
    known = {"version": 2, "created": "", "step": 3, "folder": "version-2", "num_groups": 8, "num_labels": 9}
    trusted = {"accuracy": 0.75, "calibration_error": 0.1, "bins": ((0.65, 0.6, 40), (0.9, 1.0, 10))}
    assert cells(views.preference_table([PreferenceRow(**known | trusted | changes)])) == [expected]


def test_the_newest_version_comes_first():
    def version(number):
        known = {"created": "", "step": number, "folder": str(number), "num_groups": 4, "num_labels": 4, "bins": ()}
        return PreferenceRow(version=number, accuracy=None, calibration_error=None, **known)

    assert [row[0] for row in cells(views.preference_table([version(1), version(2)]))] == ["2", "1"]


def test_without_labels_the_page_says_how_to_get_some():
    assert "label groups at /label" in views.heading(None, [])
    assert views.rater_table([], [])["empty"] == "Nobody has labelled a group of this run."


def test_the_tab_shows_the_chosen_run_else_the_newest_with_labels(writer, reader):
    def labelled_run(name):
        run_id = start_run(writer, name=name)
        writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, "a cat", (PNG + b"a", PNG + b"b")),)))
        writer.flush()
        said = {"rater": "ann", "kind": "picks", "body": {"best": [0]}, "seconds": 1.0, "request": f"request {name}"}
        label_id = writer.put_label(Said(task_id=writer.lease_next("ann"), **said))
        writer.record(run_id, GroupsClosed(step=0, num_groups=1, num_asked=1, num_labelled=1, rest=""))
        writer.put_agreements([Agreement(label_id, "reward", "brightness", 1.0)])
        return run_id

    assert _shown(reader, None)[1] == views.NO_LABELS
    first, second = labelled_run("one"), labelled_run("two")
    start_run(writer, name="without labels")
    assert _shown(reader, None)[1].startswith(f"two (run {second}): 1 label by one person.")
    choice, said, versions, raters, prompts = _shown(reader, first)
    assert choice["value"] == first
    assert said.startswith("one")
    assert versions["rows"] == []
    assert cells(raters)[0][-1] == "+1.00 (1)"
    assert cells(prompts) == [["a cat", NOTHING, NOTHING, "+1.00 (1)"]]


def test_a_new_version_is_something_new(writer, reader):
    run_id = start_run(writer)
    writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, "a cat", (PNG + b"a", PNG + b"b")),)))
    writer.flush()
    said = {"rater": "ann", "kind": "picks", "body": {"best": [0]}, "seconds": 1.0, "request": "request one"}
    writer.put_label(Said(task_id=writer.lease_next("ann"), **said))
    before = reader.labelled_runs()
    learned = {"step": 1, "version": 1, "folder": "version-1", "num_groups": 4, "num_labels": 4, "bins": ()}
    writer.record(run_id, PreferenceLearned(accuracy=None, calibration_error=None, **learned))
    writer.flush()
    assert reader.labelled_runs() != before

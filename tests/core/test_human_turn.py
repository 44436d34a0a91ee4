"""The people's turn in a step: waiting, mixing, and going on without."""

from dataclasses import replace

import pytest
from small_run import Listener, run, small_config, small_parts

from dgpo_core.config import PeopleConfig
from dgpo_core.events import EndReason, GroupsClosed, GroupsPosted, Phase, PhaseChanged, StepDone, Stop
from dgpo_core.human_turn import needs_reward, repeats_due
from dgpo_core.rewards.contract import Judgement

ORDER = [4.0, 3.0, 2.0, 1.0]


class Raters:
    """Say the groups of a step, one more at every question, up to a number."""

    def __init__(self, at_most=2):
        self.at_most, self.asked = at_most, []

    def __call__(self, step):
        self.asked.append(step)
        known = min(self.at_most, self.asked.count(step) - 1)
        return dict.fromkeys(range(known), ORDER)


class Unasked:
    """A reward that must not be needed."""

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        raise AssertionError("the automatic reward was asked")


def asked_run(model, tmp_path, people, reward=None, **settings):
    config = small_config(people={"weight": 1.0} | settings, schedule={"num_steps": 1})
    parts = replace(small_parts(model, tmp_path, config, reward=reward), people=people)
    reason, heard = run(config, parts)
    assert reason is EndReason.FINISHED
    return heard


def test_a_step_waits_until_every_group_is_labelled_and_learns_from_the_labels_alone(model, tmp_path):
    people = Raters()
    heard = asked_run(model, tmp_path, people, Unasked())
    assert people.asked == [0, 0, 0]
    (posted,), (done,) = heard.of(GroupsPosted), heard.of(StepDone)
    assert [group.index for group in posted.groups] == [0, 1]
    for group, drawn in zip(posted.groups, done.groups, strict=True):
        assert group.prompt == drawn.prompt
        assert group.pngs == tuple(sample.png for sample in drawn.samples)
        advantages = [sample.advantage for sample in drawn.samples]
        assert advantages == sorted(advantages, reverse=True)
        assert sum(advantages) == pytest.approx(0, abs=1e-5)
        assert drawn.samples[0].terms == (("people", 4.0),)
    rest = "the rest counts by its automatic reward"
    assert heard.of(GroupsClosed) == [GroupsClosed(step=0, num_groups=2, num_asked=2, num_labelled=2, rest=rest)]
    waits = [event for event in heard.of(PhaseChanged) if event.phase is Phase.LABELLING]
    assert [(event.done, event.total) for event in waits] == [(0, 2), (1, 2), (2, 2)]


def test_after_its_time_a_step_goes_on_and_the_rest_has_its_automatic_reward(model, tmp_path):
    heard = asked_run(model, tmp_path, Raters(at_most=1), wait_seconds=0.5)
    labelled, rest = heard.of(StepDone)[0].groups
    assert labelled.samples[0].terms[0] == ("people", 4.0)
    assert rest.has_preference
    assert all(sample.terms == () or sample.terms[0][0] != "people" for sample in rest.samples)
    assert heard.of(GroupsClosed)[0].num_labelled == 1
    assert sum(sample.reward for sample in rest.samples) == pytest.approx(0, abs=1e-9)
    assert rest.reward_std == pytest.approx(labelled.reward_std) == pytest.approx(1), "as people's groups, in a batch"


def test_after_its_time_the_rest_may_be_left_out(model, tmp_path):
    heard = asked_run(model, tmp_path, Raters(at_most=1), Unasked(), wait_seconds=0.5, without_label="skip")
    labelled, rest = heard.of(StepDone)[0].groups
    assert labelled.has_preference
    assert not rest.has_preference
    assert [sample.reward for sample in rest.samples] == [None] * 4


def test_a_mix_lies_between_people_and_the_reward(model, tmp_path):
    class Backwards(Unasked):
        def __call__(self, pictures, prompts):
            return [Judgement(float(number)) for number in range(len(pictures))]

    def order(weight):
        heard = asked_run(model, tmp_path / str(weight), Raters(), Backwards(), weight=weight)
        return [sample.advantage for sample in heard.of(StepDone)[0].groups[0].samples]

    mostly_people, mostly_reward = order(0.75), order(0.25)
    assert mostly_people == sorted(mostly_people, reverse=True)
    assert mostly_reward == sorted(mostly_reward)
    assert order(0.5) == pytest.approx([0, 0, 0, 0], abs=1e-3)


def test_a_group_of_which_nothing_believed_was_said_is_not_waited_for_and_counts_as_unlabelled(model, tmp_path):
    """As where its only rater says the opposite of everybody else: their label has no weight."""
    heard = asked_run(model, tmp_path, lambda step: {0: ORDER, 1: [None] * 4})
    labelled, rest = heard.of(StepDone)[0].groups
    assert labelled.samples[0].terms[0] == ("people", 4.0)
    assert rest.has_preference
    assert all(sample.terms[0][0] == "reward" for sample in rest.samples)
    assert heard.of(GroupsClosed)[0].num_labelled == 1


def test_a_stop_is_obeyed_while_waiting(model, tmp_path):
    config = small_config(people={"weight": 1.0})
    people = Raters(at_most=0)
    parts = replace(small_parts(model, tmp_path, config), people=people)
    heard = Listener()

    def stop_when_asked_twice():
        return Stop() if len(people.asked) >= 2 else None

    reason, _ = run(config, parts, listener=heard, next_command=stop_when_asked_twice)
    assert reason is EndReason.STOPPED
    assert heard.of(StepDone) == []


@pytest.mark.parametrize(
    ("settings", "num_labelled", "expected"),
    [
        ({"weight": 1.0}, 2, False),
        ({"weight": 1.0}, 1, True),
        ({"weight": 1.0, "without_label": "skip"}, 0, False),
        ({"weight": 0.5, "without_label": "skip"}, 2, True),
    ],
)
def test_the_automatic_reward_is_asked_only_where_it_counts(settings, num_labelled, expected):
    assert needs_reward(PeopleConfig(**settings), num_labelled, 2) is expected


class Taught:
    """A learned reward that likes early pictures, and would ask about the last groups."""

    def check_prompts(self, prompts):
        pass

    def __call__(self, pictures, prompts):
        return [Judgement(-float(number % 4)) for number in range(len(pictures))]

    def worth_asking(self, pictures, prompts, count):
        return list(range(len(prompts)))[-count:]


def taught_run(model, tmp_path, preference, reward=None, num_steps=1, **settings):
    config = small_config(people={"weight": 1.0} | settings, schedule={"num_steps": num_steps})
    parts = replace(small_parts(model, tmp_path, config, reward=reward), people=everything, preference=preference)
    reason, heard = run(config, parts)
    assert reason is EndReason.FINISHED
    return heard


def everything(step):
    """Both groups of a step labelled, at once."""
    return {0: ORDER, 1: ORDER}


def names(group):
    return {name for sample in group.samples for name, _ in sample.terms}


def test_only_some_groups_are_asked_about_and_what_was_learned_judges_the_rest(model, tmp_path):
    heard = taught_run(model, tmp_path, lambda step: Taught(), Unasked(), groups_asked=1, without_label="model")
    (posted,), (closed,), (done,) = heard.of(GroupsPosted), heard.of(GroupsClosed), heard.of(StepDone)
    assert [group.index for group in posted.groups] == [1]
    rest = "the rest was judged by what was learned from labels"
    assert closed == GroupsClosed(step=0, num_groups=2, num_asked=1, num_labelled=1, rest=rest)
    assert [names(group) for group in done.groups] == [{"learned"}, {"people"}]
    assert all(group.has_preference for group in done.groups)


def test_while_nothing_is_learned_the_first_groups_are_asked_about_and_the_rest_left_out(model, tmp_path):
    asked = []
    heard = taught_run(model, tmp_path, asked.append, Unasked(), groups_asked=1, without_label="model")
    assert asked == [0]
    assert [group.index for group in heard.of(GroupsPosted)[0].groups] == [0]
    assert [group.has_preference for group in heard.of(StepDone)[0].groups] == [True, False]
    rest = "the rest was left out, since the labels so far are too few to learn from"
    assert heard.of(GroupsClosed) == [GroupsClosed(step=0, num_groups=2, num_asked=1, num_labelled=1, rest=rest)]


def test_what_was_learned_is_mixed_with_the_reward_as_people_are(model, tmp_path):
    class Backwards(Unasked):
        def __call__(self, pictures, prompts):
            return [Judgement(float(number % 4)) for number in range(len(pictures))]

    settings = {"groups_asked": 1, "without_label": "model", "weight": 0.5}
    heard = taught_run(model, tmp_path, lambda step: Taught(), Backwards(), **settings)
    learned, _ = heard.of(StepDone)[0].groups
    assert names(learned) == {"learned", "reward"}
    assert [sample.advantage for sample in learned.samples] == pytest.approx([0] * 4, abs=1e-3)


def test_what_was_learned_is_not_waited_for_where_it_does_not_count(model, tmp_path):
    def unasked(step):
        raise AssertionError("the learned reward was asked for")

    taught_run(model, tmp_path, unasked, without_label="skip")


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 5), (0.1, 2), (1.0, 20)])
def test_repeats_come_to_their_share_over_many_steps(share, expected):
    due = [repeats_due(step, 2, share) for step in range(10)]
    assert sum(due) == expected
    assert max(due) - min(due) <= 1

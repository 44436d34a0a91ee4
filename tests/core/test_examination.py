"""Examinations: which prompts, what is drawn beside a watch, and how often."""

from collections import Counter
from dataclasses import replace

import pytest
from small_model import PROMPTS
from small_run import run, small_config, small_parts

from dgpo_core.assembly import assemble
from dgpo_core.events import EvaluationDone, Phase, PhaseChanged, Warned
from dgpo_core.examination import spread_over
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import Judgement


@pytest.mark.parametrize(
    ("watch_prompts", "times_drawn"), [([], 1), (PROMPTS[:5], 1), (PROMPTS[:4], 2), (PROMPTS[4::-1], 2)]
)
def test_prompts_of_the_examination_are_not_drawn_a_second_time_for_the_watch(
    watch_prompts, times_drawn, model, tmp_path
):
    config, steps = small_config(), []
    examiner = small_parts(model, tmp_path, config).examiner
    examiner = replace(examiner, watched={"light": new_reward("brightness")}, watch_prompts=watch_prompts)
    done, watched = examiner.examine_and_watch(
        PROMPTS[:5], seed=0, step=0, weights=None, on_step=lambda index, num_steps: steps.append(index)
    )
    assert len(steps) == times_drawn * config.rollout.num_sampling_steps
    by_prompt = {one.prompt: one for one in watched["light"]}
    assert list(by_prompt) == list(watch_prompts or PROMPTS[:5])
    if times_drawn == 1:
        assert [by_prompt[one.prompt].score for one in done.samples] == [one.score for one in done.samples]


@pytest.mark.parametrize(
    ("num_silent", "score", "words"),
    [
        (1, 0.5, "no opinion on 1 of 2 pictures of the examination. The score is of the others. The first: it is away"),
        (2, None, "no opinion on 2 of 2 pictures of the examination. This examination has no score. The first: it is"),
    ],
)
def test_pictures_of_an_examination_without_an_opinion_are_said_and_not_taken_for_wrong(
    num_silent, score, words, model, tmp_path
):
    def partly_silent(pictures, prompts):
        return [Judgement(None, details="it is away")] * num_silent + [Judgement(0.5)] * (len(pictures) - num_silent)

    config = small_config(schedule={"num_steps": 1, "evaluation_prompts": 2})
    parts = small_parts(model, tmp_path, config)
    parts = replace(parts, examiner=replace(parts.examiner, reward=partly_silent))
    _, heard = run(config, parts)
    assert [done.score for done in heard.of(EvaluationDone)] == [score, score]
    assert words in heard.of(Warned)[0].message


@pytest.mark.parametrize("count", [6, 60])
def test_an_examination_takes_as_many_prompts_of_every_tag_in_their_file(count, model, tmp_path):
    config = small_config(
        prompts={"train": "geneval-train", "heldout": "geneval-heldout"},
        reward={"train": "brightness", "evaluation": "brightness"},
    )
    parts = assemble(config, tmp_path, model=model)
    examiner = parts.examiner
    chosen = spread_over(parts.heldout_prompts, count, examiner.category_of)
    done = examiner.examine(chosen, seed=0, step=0, weights=None)
    assert set(Counter(one.category for one in done.samples).values()) == {count // 6}


@pytest.mark.parametrize(("own_steps", "times_asked"), [(0, 2), (5, 5)])
def test_an_examination_has_sampling_steps_of_its_own_and_groups_keep_theirs(own_steps, times_asked, model, tmp_path):
    config = small_config(
        prompts={"train": "geneval-train", "heldout": "geneval-heldout"},
        schedule={"num_steps": 1, "evaluation_sampling_steps": own_steps},
    )
    _, listener = run(config, assemble(config, tmp_path, model=model))
    furthest = {event.phase: event.total for event in listener.of(PhaseChanged)}
    assert (furthest[Phase.SAMPLING], furthest[Phase.EXAMINING]) == (2, times_asked)

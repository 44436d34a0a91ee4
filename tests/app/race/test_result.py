from dataclasses import replace

import pytest
from race_runs import run

from app.race.plan import plan_of
from app.race.report import markdown, quality_rows, remarks, rows_of, tuning_rows
from app.race.result import COSTS, best_learning_rate, cost_to_reach, result_of
from app.store.rows import RacePoint, RunState

PLAN = plan_of(
    {
        "recipe": "shapes",
        "against": "nft",
        "seeds": [0, 1],
        "learning_rates": [1e-4, 1e-3],
        "entrants": {"dgpo": {}, "nft": {"algorithm.name": "diffusion_nft"}},
    },
    "small",
)


def points(*scores, seconds=60.0):
    """Examinations after 0, 1, 2 ... turns of that many seconds, 100 pictures and 1000 evaluations."""
    return tuple(
        RacePoint(
            step=10 * turn,
            score=score,
            quality=(("clean things", score / 2),),
            seconds=seconds * turn,
            pictures=100 * turn,
            network_evaluations=1000.0 * turn,
        )
        for turn, score in enumerate(scores)
    )


@pytest.mark.parametrize(
    ("scores", "target", "minutes"),
    [
        ((0.2, 0.4, 0.8), 0.6, 1.5),
        ((0.2, 0.4, 0.8), 0.4, 1.0),
        ((0.7, 0.8), 0.6, 0.0),
        ((0.2, 0.5, 0.3, 0.7), 0.6, 2.75),
        ((0.2, 0.4), 0.6, None),
        ((), 0.6, None),
    ],
)
def test_the_target_is_reached_on_the_line_between_two_examinations(scores, target, minutes):
    assert cost_to_reach(target, points(*scores), COSTS["minutes"]) == (
        None if minutes is None else pytest.approx(minutes)
    )


def test_standings_of_a_race():
    runs = [
        run("dgpo", 0, examined=points(0.2, 0.6, 0.9)),
        run("nft", 0, examined=points(0.2, 0.3, 0.4, 0.5)),
        run("dgpo", 1, examined=points(0.2, 0.8, 0.9)),
        run("nft", 1, examined=points(0.2, 0.4, 0.7, 0.6)),
    ]
    result = result_of(PLAN, runs)
    assert result.target == pytest.approx(0.6)
    dgpo, nft = result.standings
    assert (dgpo.num_reached, nft.num_reached) == (2, 2)  # each its own seed's target, 0.5 and 0.7
    assert dgpo.to_target["minutes"].mean == pytest.approx((3 / 4 + 5 / 6) / 2)
    assert nft.to_target["minutes"].mean == pytest.approx((3 + 2) / 2)
    assert nft.to_target["pictures"].mean == pytest.approx(250)
    assert nft.ratio["evaluations"].mean == pytest.approx((3 / (3 / 4) * 2 / (5 / 6)) ** 0.5)
    assert (nft.ratio["evaluations"].least, nft.ratio["evaluations"].most) == pytest.approx((2.4, 4))
    assert dgpo.ratio["minutes"].mean == 1
    assert nft.best.mean == pytest.approx(0.6)
    assert nft.final.mean == pytest.approx(0.55)
    heading, *rows = rows_of(result)
    assert rows[1][:5] == ["nft", "0.0001", "0.600 ± 0.141", "0.550 ± 0.071", "2 of 2"]
    assert [row[-4] for row in rows] == ["1.0", "3.1 (2.4 to 4.0)"]
    assert all(len(row) == len(heading) for row in rows)
    assert remarks(PLAN, result) == ["Target: for each seed the best score of nft, 0.600 on average."]
    assert markdown(rows_of(result)).count("\n") == 3
    assert quality_rows(result) == [
        ["entrant", "clean things"],
        ["dgpo", "0.450 ± 0.000"],
        ["nft", "0.275 ± 0.035"],
    ]


def test_two_entrants_that_are_each_twice_as_quick_with_one_seed_are_equal_whoever_is_named_first():
    quick, slow = points(0.2, 0.6), points(0.2, 0.4, 0.6)
    runs = [run("dgpo", 0, examined=quick), run("nft", 0, examined=slow)]
    runs += [run("dgpo", 1, examined=slow), run("nft", 1, examined=quick)]
    for entrants in (PLAN.entrants, PLAN.entrants[::-1]):
        plan = replace(PLAN, rules=replace(PLAN.rules, target=0.6), entrants=entrants)
        assert result_of(plan, runs).standings[1].ratio["minutes"].mean == pytest.approx(1)


def test_seeds_that_came_near_the_target_and_not_to_it_are_counted_apart():
    plan = replace(PLAN, rules=replace(PLAN.rules, target=0.6))
    runs = [run("dgpo", seed, examined=points(0.2, 0.9)) for seed in (0, 1)]
    runs += [run("nft", 0, examined=points(0.2, 0.6)), run("nft", 1, examined=points(0.2, 0.59))]
    words = "nft reached the target with 1 of 2 seeds; its minutes and ratios are of these alone"
    assert remarks(plan, result_of(plan, runs))[1:] == [f"{words}, those to 90% of the gain of 2."]


def test_the_time_to_nine_tenths_does_not_depend_on_which_examination_of_a_plateau_is_the_highest():
    def ratios(*plateau):
        rival = run("nft", 0, examined=points(0.2, 0.6, *plateau))
        result = result_of(PLAN, [run("dgpo", 0, examined=points(0.2, 0.7)), rival])
        return result.standings[1].ratio["minutes"].mean, result.standings[1].ratio_nearly.mean

    early, late = ratios(0.61, 0.6, 0.6), ratios(0.6, 0.6, 0.61)
    assert late[0] == pytest.approx(2 * early[0])
    assert late[1] == pytest.approx(early[1]) == pytest.approx((0.9 * 0.41 / 0.4) / (0.9 * 0.41 / 0.5))


def test_a_race_that_has_only_begun_has_no_target_and_says_so():
    result = result_of(PLAN, [run("dgpo", examined=points(0.2, 0.6))])
    assert result.target is None
    assert [one.to_target["minutes"] for one in result.standings] == [None, None]
    assert remarks(PLAN, result) == ["There is no target yet: nft has not been examined."]
    assert rows_of(result)[2][1:5] == ["\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}", "0 of 0"]


def test_a_seed_that_has_only_begun_lacks_what_is_measured_while_training():
    begun = run("dgpo", 1, examined=points(0.2))
    first, second = points(0.2, 0.6)
    second = replace(second, quality=(*second.quality, ("in-group diversity", 0.1)))
    standing = result_of(PLAN, [run("dgpo", 0, examined=(first, second)), begun]).standings[0]
    assert standing.quality["in-group diversity"].mean == 0.1
    assert standing.quality["clean things"].mean == pytest.approx(0.2)


def test_without_a_target_it_is_said_whether_the_rival_failed_for_good():
    broken = {"state": RunState.FAILED, "message": "Out of memory."}
    first, second = (run("nft", seed, examined=points(0.2, 0.9), **broken) for seed in (0, 1))
    one_failed = remarks(PLAN, result_of(PLAN, [first]))
    assert one_failed == [
        "There is no target yet: nft failed with 1 of 2 seeds, and no other is examined.",
        "nft failed: Out of memory.",
    ]
    all_failed = remarks(PLAN, result_of(PLAN, [first, second, run("dgpo", examined=points(0.2, 0.6))]))
    assert all_failed == ["nft failed, so there is no target.", *["nft failed: Out of memory."] * 2]
    tried = [run("nft", 1000, rate=rate, is_tuning=True, **broken) for rate in PLAN.learning_rates]
    assert remarks(PLAN, result_of(PLAN, tried[:1])) == ["There is no target yet: nft has not been examined."]
    assert remarks(PLAN, result_of(PLAN, tried)) == [
        "nft failed, so there is no target.",
        "nft does not race, as it failed with every learning rate, at last so: Out of memory.",
    ]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1e-4, ["nft races with the lowest of the learning rates; a lower one may do better."]),
        (1e-3, []),
        (1e-2, ["nft races with the highest of the learning rates; a higher one may do better."]),
    ],
)
def test_a_best_rate_at_the_edge_of_the_grid_is_said(rate, words):
    plan = replace(PLAN, learning_rates=(1e-4, 1e-3, 1e-2))
    tried = [run("nft", 1000, rate=one, is_tuning=True, examined=points(0.2)) for one in plan.learning_rates]
    racing = run("nft", 0, rate=rate, examined=points(0.2, 0.4))
    assert remarks(plan, result_of(plan, [*tried, racing]))[1:] == words


def test_a_failed_run_is_left_out_and_named_and_a_target_never_reached_is_said():
    runs = [
        run("dgpo", 0, examined=points(0.2, 0.3)),
        run("nft", 0, examined=points(0.2, 0.9)),
        run("nft", 1, examined=points(0.2, 0.1), state=RunState.FAILED, message="Out of memory."),
    ]
    result = result_of(PLAN, runs)
    assert result.target == 0.9
    assert result.standings[1].num_seeds == 1
    assert remarks(PLAN, result)[1:] == [
        "dgpo never reached the target in the time it had.",
        "nft reached the target with 1 of 2 seeds; its minutes and ratios are of these alone.",
        "nft failed: Out of memory.",
    ]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"examined": points(0.2, 0.9)}, []),
        ({"examined": points(0.2, 0.3)}, ["dgpo reached the target with 1 of 2 seeds; all ratios are of these alone."]),
        (
            {"examined": points(0.2), "state": RunState.FAILED, "message": "It broke."},
            ["dgpo reached the target with 1 of 2 seeds; all ratios are of these alone.", "dgpo failed: It broke."],
        ),
    ],
)
def test_seeds_that_did_not_reach_the_target_are_said(second, words):
    runs = [run("dgpo", 0, examined=points(0.2, 0.9)), run("dgpo", 1, **second)]
    runs += [run("nft", seed, examined=points(0.2, 0.5)) for seed in (0, 1)]
    assert remarks(PLAN, result_of(PLAN, runs))[1:] == words


def test_who_but_the_first_reaches_with_some_seeds_speaks_of_its_own_numbers():
    plan = replace(PLAN, rules=replace(PLAN.rules, target=0.5))
    runs = [run("dgpo", seed, examined=points(0.2, 0.9)) for seed in (0, 1)]
    runs += [run("nft", 0, examined=points(0.2, 0.6)), run("nft", 1, examined=points(0.2, 0.3))]
    assert remarks(plan, result_of(plan, runs))[1:] == [
        "nft reached the target with 1 of 2 seeds; its minutes and ratios are of these alone."
    ]


def test_a_seed_that_the_rival_lacks_has_no_target_and_a_given_one_holds_for_all():
    runs = [
        run("dgpo", 0, examined=points(0.2, 0.6)),
        run("dgpo", 1, examined=points(0.2, 0.8)),
        run("nft", 0, examined=points(0.2, 0.4)),
    ]
    dgpo, nft = result_of(PLAN, runs).standings
    assert (dgpo.num_reached, dgpo.num_seeds, nft.num_reached) == (1, 2, 1)
    given = result_of(replace(PLAN, rules=replace(PLAN.rules, target=0.5)), runs)
    assert given.target == 0.5
    assert [one.num_reached for one in given.standings] == [2, 0]


def test_the_best_rate_is_that_of_the_highest_end_and_failures_do_not_count():
    tuned = [
        run("dgpo", 1000, rate=1e-4, is_tuning=True, examined=points(0.2, 0.5)),
        run("dgpo", 1000, rate=1e-3, is_tuning=True, examined=points(0.2, 0.9, 0.4)),
    ]
    assert best_learning_rate(PLAN, "dgpo", tuned[:1]) is None
    assert best_learning_rate(PLAN, "dgpo", tuned) == 1e-4
    failed = run("dgpo", 1000, rate=1e-4, is_tuning=True, state=RunState.FAILED, message="It broke.")
    assert best_learning_rate(PLAN, "dgpo", [failed, tuned[1]]) == 1e-3
    assert tuning_rows(result_of(PLAN, [failed, tuned[1]]))[1:] == [
        ["dgpo", "0.0001", "\N{EN DASH} (failed)"],
        ["dgpo", "0.001", "0.400"],
    ]
    also_failed = run("dgpo", 1000, rate=1e-3, is_tuning=True, state=RunState.FAILED)
    assert best_learning_rate(PLAN, "dgpo", [failed, also_failed]) is None

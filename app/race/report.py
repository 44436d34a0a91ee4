"""A race's result in words and tables, for the terminal and for docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence

from app.race.plan import RacePlan
from app.race.result import COSTS, NEARLY, RaceResult, Ratio, Spread, Standing

NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
FORMS = {"minutes": "{:.1f}", "pictures": "{:,.0f}", "evaluations": "{:,.0f}"}
CAPTION = (
    "Standings: mean ± standard deviation over seeds. Minutes, pictures and network evaluations are those to the "
    f"target, {TIMES} is how many times the first entrant's, the geometric mean and the range over seeds; the last "
    f"column is of minutes to {NEARLY:.0%} of the gain"
)


def rows_of(result: RaceResult) -> list[list[str]]:
    """The standings: a heading, then one row per entrant."""
    heading = [
        "entrant",
        "rate",
        "best score",
        "final score",
        "reached",
        *COSTS,
        *(f"{TIMES} {name}" for name in COSTS),
        f"{TIMES} minutes to {NEARLY:.0%}",
    ]
    return [heading, *[_row(one) for one in result.standings]]


def _row(one: Standing) -> list[str]:
    rate = f"{one.learning_rate:g}" if one.num_seeds else NOTHING
    reached = f"{one.num_reached} of {one.num_seeds}"
    spent = [_in_words(one.to_target[name], FORMS[name]) for name in COSTS]
    ratios = [_times(ratio) for ratio in (*(one.ratio[name] for name in COSTS), one.ratio_nearly)]
    return [one.entrant, rate, _in_words(one.best), _in_words(one.final), reached, *spent, *ratios]


def _in_words(spread: Spread | None, form: str = "{:.3f}") -> str:
    if spread is None:
        return NOTHING
    mean = form.format(spread.mean)
    return mean if spread.std is None else f"{mean} ± {form.format(spread.std)}"


def _times(ratio: Ratio | None) -> str:
    if ratio is None:
        return NOTHING
    mean, least, most = map(_two_digits, (ratio.mean, ratio.least, ratio.most))
    return mean if ratio.least == ratio.most else f"{mean} ({least} to {most})"


def _two_digits(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the heading."""
    heading, *rest = rows
    lines = [heading, ["---"] * len(heading), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks(plan: RacePlan, result: RaceResult) -> list[str]:
    """What the table alone does not say."""
    said: list[str] = []
    if result.target is None:
        said.append(_why_no_target(plan, result))
    elif plan.rules.target:
        said.append(f"Target: {result.target:.3f}, as the plan says.")
    else:
        said.append(f"Target: for each seed the best score of {plan.rules.against}, {result.target:.3f} on average.")
    for one in result.standings:
        said += _on_rates(plan, result, one)
        if result.target is not None and one.num_seeds:
            said += _on_reaching(one, is_first=one is result.standings[0])
        said += [f"{one.entrant} failed: {message}" for message in one.failures]
    return said


def _on_reaching(one: Standing, *, is_first: bool) -> list[str]:
    """Whether an entrant never reached the target, or with some of its seeds only, which then stand for all."""
    if not one.num_reached:
        return [f"{one.entrant} never reached the target in the time it had."]
    num_seeds = one.num_seeds + len(one.failures)
    if one.num_reached == num_seeds:
        return []
    numbers = "all ratios are" if is_first else "its minutes and ratios are"
    words = f"{one.entrant} reached the target with {one.num_reached} of {num_seeds} seeds; {numbers} of these alone"
    num_near = one.ratio_nearly.num_seeds if one.ratio_nearly else 0
    return [f"{words}{f', those to {NEARLY:.0%} of the gain of {num_near}' if num_near > one.num_reached else ''}."]


def _on_rates(plan: RacePlan, result: RaceResult, one: Standing) -> list[str]:
    """Whether an entrant failed with every learning rate, or raced with one at the edge of the grid."""
    tried = [rate for rate in result.tried if rate.entrant == one.entrant]
    if len(tried) < len(plan.learning_rates):
        return []
    if all(rate.message for rate in tried):
        return [f"{one.entrant} does not race, as it failed with every learning rate, at last so: {tried[-1].message}"]
    if one.num_seeds == 0 or min(plan.learning_rates) < one.learning_rate < max(plan.learning_rates):
        return []
    edge, beyond = ("lowest", "lower") if one.learning_rate == min(plan.learning_rates) else ("highest", "higher")
    return [f"{one.entrant} races with the {edge} of the learning rates; a {beyond} one may do better."]


def _why_no_target(plan: RacePlan, result: RaceResult) -> str:
    """Whether the entrant in `against` has failed for good, or is still to be examined."""
    rival, num_seeds = plan.rules.against, len(plan.seeds)
    num_failed = sum(len(one.failures) for one in result.standings if one.entrant == rival)
    tried = [one for one in result.tried if one.entrant == rival]
    has_no_rate = len(tried) == len(plan.learning_rates) and all(one.message for one in tried)
    if num_failed >= num_seeds or has_no_rate:
        return f"{rival} failed, so there is no target."
    if num_failed:
        return (
            f"There is no target yet: {rival} failed with {num_failed} of {num_seeds} seeds, and no other is examined."
        )
    return f"There is no target yet: {rival} has not been examined."


def quality_rows(result: RaceResult) -> list[list[str]]:
    """Quality at the end of each entrant, never trained on; nothing but the heading where none was measured."""
    names = list(dict.fromkeys(name for one in result.standings for name in one.quality))
    rows = [[one.entrant, *(_in_words(one.quality.get(name)) for name in names)] for one in result.standings]
    return [["entrant", *names], *(rows if names else [])]


def tuning_rows(result: RaceResult) -> list[list[str]]:
    """The grid of learning rates and what each came to; nothing but the heading where none was tried."""
    rows = [["entrant", "learning rate", "score"]]
    for one in result.tried:
        score = NOTHING if one.score is None else f"{one.score:.3f}"
        rows.append([one.entrant, f"{one.learning_rate:g}", f"{score} (failed)" if one.message else score])
    return rows

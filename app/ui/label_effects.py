"""What became of labels: the step that used them, the advantages they became, and what that step changed.

Read models in, plain values out. Step n makes the weights n + 1 out of n, and examination n is of the weights n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.store.reader import Reader
from app.store.rows import EvaluationRow, ExaminedRow, GroupRow, LabelRow, RunRow, SampleRow, StepRow
from app.ui.changes import digest
from app.ui.charts import short
from app.ui.live import whole_number
from app.ui.serving import picture_urls

PAIRS_SHOWN = 6
NOTHING: dict[str, Any] = {"at": None, "steps": 0, "seen": ""}
Place = tuple[int, int]
Pair = tuple[ExaminedRow, ExaminedRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is told of one step with labels; pairs are of the same prompt and seed, before it and after it."""

    title: str
    summary: str
    labels: Sequence[LabelRow]
    groups: Sequence[GroupRow]
    changes: Sequence[Mapping[str, Any]]
    pairs: Sequence[Pair]
    pairs_title: str

    @property
    def shas(self) -> set[str]:
        """The pictures that it shows."""
        of_groups = {sample.sha for group in self.groups for sample in group.samples}
        return of_groups | {one.sha for pair in self.pairs for one in pair}

    def view(self, urls: Mapping[str, str]) -> dict[str, Any]:
        """As plain values; urls has pictures by SHA-256."""
        return {
            "title": self.title,
            "summary": self.summary,
            "groups": [group_view(group, self.labels, urls) for group in self.groups],
            "changes": self.changes,
            "pairs": [pair_view(pair, urls) for pair in self.pairs],
            "pairs_title": self.pairs_title,
        }


class LabelEffects:
    """Answers the panel's topic: the newest step with labels, or the one that a page walked to."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def answer(self, _: RunRow | None, cursor: Any) -> dict[str, Any] | None:
        """What the panel shows and, as seen, what a page says that has it; None where it says so."""
        asked = cursor if isinstance(cursor, dict) else {}
        places = self._reader.labelled_steps()
        if not places:
            return None if asked.get("seen") == NOTHING["seen"] else NOTHING
        place = _wanted(asked, places)
        effect, around = self._effect(place), _neighbours(place, places)
        seen = digest((effect, around))
        if asked.get("seen") == seen:
            return None
        return effect.view(picture_urls(self._reader, effect.shas)) | around | {"seen": seen}

    def _effect(self, place: Place) -> Effect:
        run_id, step = place
        run = self._reader.run(run_id)
        steps = {row.step: row for row in self._reader.steps(run_id, after=step - 2, limit=3) if row.step <= step}
        labels = self._reader.labels_of_step(run_id, step)
        groups = self._reader.groups(run_id, step)
        evaluations = self._reader.evaluations(run_id)
        before = max((one for one in evaluations if one.step <= step), key=lambda one: one.step, default=None)
        after = min((one for one in evaluations if one.step > step), key=lambda one: one.step, default=None)
        return Effect(
            title=f"{run.name if run else ''}, step {step}",
            summary=summary(labels, len(groups)) + share_in_words(run.config["people"]["weight"] if run else 0),
            labels=labels,
            groups=[group for group in groups if any(_is_of(one, group) for one in labels)],
            changes=changes(steps.get(step - 1), steps.get(step), before, after),
            pairs=self._pairs(before, after),
            pairs_title=pairs_title(before, after),
        )

    def _pairs(self, before: EvaluationRow | None, after: EvaluationRow | None) -> list[Pair]:
        if before is None or after is None:
            return []
        old, new = (self._reader.examined("evaluation", one.id) for one in (before, after))
        return changed_pairs(old, new)


def _wanted(asked: Mapping[str, Any], places: Sequence[Place]) -> Place:
    wanted = whole_number(asked.get("run")), whole_number(asked.get("step"))
    return next((place for place in places if place == wanted), places[0])


def _neighbours(place: Place, places: Sequence[Place]) -> dict[str, Any]:
    """Where the panel is, and where its arrows lead: newer and older steps with labels."""
    at = places.index(place)
    newer, older = places[at - 1] if at else None, places[at + 1] if at + 1 < len(places) else None
    return {"at": list(place), "steps": len(places), "newer": newer, "older": older}


def summary(labels: Sequence[LabelRow], num_groups: int) -> str:
    """How many labels a step used, whose they were, and of how many of its groups."""
    people = sorted({one.rater for one in labels})
    shown = ", ".join(people[:3]) + (f" and {len(people) - 3} more" if len(people) > 3 else "")
    labelled = len({one.group_index for one in labels})
    return f"{_count(len(labels), 'label')} by {shown} on {labelled} of {_count(num_groups, 'group')}"


def share_in_words(weight: float) -> str:
    """How much people's word counted beside the automatic reward's; empty where nobody was to be asked."""
    if weight <= 0:
        return ""
    if weight >= 1:
        return "; people's word counted alone"
    return f"; people's word counted {weight:.0%}, the automatic reward {1 - weight:.0%}"


def group_view(group: GroupRow, labels: Sequence[LabelRow], urls: Mapping[str, str]) -> dict[str, Any]:
    """A group with what was said of it and what that became, best advantage first."""
    ranked = sorted(group.samples, key=lambda one: (-one.advantage, one.member))
    return {
        "prompt": group.prompt,
        "said": [f"{one.rater}: {in_words(one)}" for one in labels if _is_of(one, group)],
        "has_preference": group.has_preference,
        "samples": [_sample(one, urls[one.sha]) for one in ranked],
    }


def _is_of(label: LabelRow, group: GroupRow) -> bool:
    return label.group_index == group.index


def _sample(sample: SampleRow, url: str) -> dict[str, Any]:
    terms = dict(sample.terms)
    return {
        "number": sample.member + 1,
        "url": url,
        "advantage": short(sample.advantage),
        "said": short(terms.get("people")),
        "reward": short(terms.get("reward")),
    }


def in_words(label: LabelRow) -> str:
    """A label as a person would say it; pictures are numbered from 1."""
    body = label.body
    if label.kind == "ranking":
        return " > ".join(_numbers(tier, " = ") for tier in body["tiers"])
    if label.kind == "picks":
        return f"best {_numbers(body['best'])}"
    if label.kind == "likes":
        parts = (("liked", body["liked"]), ("disliked", body["disliked"]))
        return "; ".join(f"{word} {_numbers(members)}" for word, members in parts if members)
    if label.kind == "stars":
        given = [f"{member + 1}: {stars}" for member, stars in enumerate(body["stars"]) if stars]
        return f"stars {', '.join(given)}"
    return _count(len(body["verdicts"]), "pair") + " judged"


def _numbers(members: Sequence[int], between: str = ", ") -> str:
    return between.join(str(member + 1) for member in members)


def changes(
    previous: StepRow | None, step: StepRow | None, before: EvaluationRow | None, after: EvaluationRow | None
) -> list[dict[str, Any]]:
    """What a step changed, as (name, before, after); what was not measured is None."""
    kls = [short(row.metrics.kl) if row else None for row in (previous, step)]
    scores = [short(row.score) if row else None for row in (before, after)]
    gate = short(step.metrics.gate) if step else None
    return [
        {"name": "Distance from the reference (KL)", "before": kls[0], "after": kls[1], "digits": 5},
        {"name": "Gate: 0.5 before an update, lower once the policy agrees", "before": 0.5, "after": gate, "digits": 3},
        {"name": "Held-out score", "before": scores[0], "after": scores[1], "digits": 3},
    ]


def pairs_title(before: EvaluationRow | None, after: EvaluationRow | None) -> str:
    """Which examinations the pictures below are of."""
    if before is None or after is None:
        return "Pictures before and after come with the next examination."
    between = f"{_count(after.step - before.step, 'step')} lie between them"
    return f"The same prompts and seeds, examined at step {before.step} and at step {after.step}; {between}."


def changed_pairs(before: Sequence[ExaminedRow], after: Sequence[ExaminedRow]) -> list[Pair]:
    """Pictures of the same prompt and seed that differ, those whose score changed most first."""
    later = {(one.prompt, one.seed): one for one in after}
    pairs = [(one, later[one.prompt, one.seed]) for one in before if (one.prompt, one.seed) in later]
    differing = [(old, new) for old, new in pairs if old.sha != new.sha]
    differing.sort(key=lambda pair: -abs((pair[1].score or 0.0) - (pair[0].score or 0.0)))
    return differing[:PAIRS_SHOWN]


def pair_view(pair: Pair, urls: Mapping[str, str]) -> dict[str, Any]:
    """A pair with its scores."""
    old, new = pair
    shown = {"prompt": old.prompt, "before": urls[old.sha], "after": urls[new.sha]}
    return shown | {"before_score": short(old.score), "after_score": short(new.score)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

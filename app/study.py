"""What is learned from labels while a run goes on: a preference model, version after version, and who agrees with whom.

All of it happens in one thread beside the training thread, from the labels of whole steps only: the version that a step
is handed depends on those labels and the run's seed, and on nothing that was faster or slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from torch import Tensor

from app.people import Crowd, by_group, by_task, lost_in_words, scores_in
from app.recorder import Recorder
from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import Agreement, LabelRow, SampleRow
from dgpo_core.assembly import preference_features
from dgpo_core.config import RunConfig
from dgpo_core.data.pictures import picture_of
from dgpo_core.errors import PromptError, StoreError
from dgpo_core.events import Event, GroupsClosed, PreferenceLearned, Warned
from dgpo_core.preference.learned_reward import LearnedReward, learn
from dgpo_core.preference.orders import Trust
from dgpo_core.preference.picture_features import PictureFeatures
from dgpo_core.preference.saved import About, save_preference
from dgpo_core.reward_names import REWARD_FACTS, parse_mixture
from dgpo_core.rewards.catalogue import QUICK_REWARDS, new_reward
from dgpo_core.rewards.contract import Picture, Reward, judge
from dgpo_core.rewards.label_scores import Scores, agreement, has_preference
from dgpo_core.trainer import Parts

LEAST_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """What labels are compared with: rewards that are asked here, and reward.train, whose verdicts the store has."""

    asked: Mapping[str, Reward]
    trained: str


class Study:
    """Learns from a run's labels in a thread of its own, for as long as it is entered. A Preference for the trainer."""

    def __init__(
        self,
        run_id: int,
        *,
        reader: Reader,
        recorder: Recorder,
        emit: Callable[[Event], None],
        features: PictureFeatures,
        automatic: Automatic,
        folder: Path,
        seed: int,
    ) -> None:
        self._run_id, self._reader, self._recorder, self._emit = run_id, reader, recorder, emit
        self._features, self._automatic, self._folder, self._seed = features, automatic, folder, seed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="study")
        self._begun: dict[int, Future[LearnedReward | None]] = {}
        self._known: dict[int, Tensor] = {}
        self._lost: set[int] = set()
        self._compared: dict[int, list[int]] = {}
        self._compared_with_run: dict[int, list[int]] = {}
        self._newest: tuple[list[int], LearnedReward | None] = ([], None)

    def __call__(self, step: int) -> LearnedReward | None:
        """What the labels of all steps before this one teach; waits until it is learned."""
        return self.begin(step).result()

    def begin(self, step: int) -> Future[LearnedReward | None]:
        """Begins to learn for a step, once, and returns at once."""
        for earlier in [one for one, begun in self._begun.items() if one < step and begun.done()]:
            self._begun.pop(earlier).result()
        if step not in self._begun:
            self._begun[step] = self._thread.submit(self._learn, step)
        return self._begun[step]

    def beside(self, emit: Callable[[Event], None]) -> Callable[[Event], None]:
        """The same ears for a run's events, by which a step's labels are learned from as soon as it has them."""

        def hear(event: Event) -> None:
            emit(event)
            if isinstance(event, GroupsClosed):
                self.begin(event.step + 1)

        return hear

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends when what was begun is learned, so that the last labels are in the last version."""
        self._thread.shutdown(wait=True)
        if error is None:
            for begun in self._begun.values():
                begun.result()
            with suppress(StoreError):  # the run is over, whether or not there is room for its last agreements
                self._recorder.flush()
                self._compare_with_run(self._reader.labels_of_run(self._run_id))

    def _learn(self, step: int) -> LearnedReward | None:
        rows = [row for row in self._reader.labels_of_run(self._run_id) if row.step < step]
        self._compare(rows)
        self._compare_with_run(rows)
        ids = [row.id for row in rows]
        if ids != self._newest[0]:
            self._newest = ids, self._learned_from(rows, step)
        return self._newest[1]

    def _learned_from(self, rows: Sequence[LabelRow], step: int) -> LearnedReward | None:
        crowd = Crowd()
        crowd.hear(rows)
        firsts = by_task(row for row in rows if row.repeat_of is None)
        said = {task_id: crowd.merged(together) for task_id, together in firsts.items()}
        judged = [(self._seen(task_id), scores) for task_id, scores in said.items() if has_preference(scores)]
        groups = [(features, scores) for features, scores in judged if features is not None]
        if len(groups) < LEAST_GROUPS:
            return None
        reward, trust = learn(groups, self._features, seed=self._seed)
        self._keep(reward, trust, step=step, num_groups=len(groups), num_labels=len(rows))
        return reward

    def _keep(self, reward: LearnedReward, trust: Trust | None, *, step: int, num_groups: int, num_labels: int) -> None:
        """Saves a version and says so; the same step learned again after a resume is the same version."""
        known = self._reader.preferences(self._run_id)
        version = next((row.version for row in known if row.step == step), len(known) + 1)
        folder = self._folder / f"version-{version}"
        accuracy = trust.accuracy if trust else None
        calibration_error = trust.calibration_error if trust else None
        about = About(num_groups=num_groups, accuracy=accuracy, calibration_error=calibration_error)
        self._recorder.patiently(lambda: _saved(folder, reward, about))
        self._emit(
            PreferenceLearned(
                step=step,
                version=version,
                folder=folder.name,
                num_groups=num_groups,
                num_labels=num_labels,
                accuracy=accuracy,
                calibration_error=calibration_error,
                bins=tuple((one.sure, one.right, one.count) for one in trust.bins) if trust else (),
            )
        )

    def _seen(self, task_id: int) -> Tensor | None:
        """The features of a group, reckoned once; None where a picture of it was found to be gone."""
        if task_id in self._lost:
            return None
        if task_id not in self._known:
            group = self._group(task_id)
            if group is None:
                return None
            pictures, prompt = group
            self._known[task_id] = self._features(pictures, [prompt] * len(pictures))
        return self._known[task_id]

    def _group(self, task_id: int) -> tuple[list[Picture], str] | None:
        """Pictures and prompt of a group; None, and that is said once, where a picture of it is gone."""
        task = self._reader.label_task(task_id)
        assert task is not None, "a run that is live, and with it its groups, cannot be deleted"
        pngs = [self._reader.picture(sha) for sha in task.shas]
        is_lost = [png is None for png in pngs]
        if not any(is_lost):
            return [picture_of(png) for png in pngs if png is not None], task.prompt
        if task_id not in self._lost:
            self._lost.add(task_id)
            which = lost_in_words(is_lost, task.group_index, task.step)
            message = f"{which} What people said of it is left out of what is learned from labels."
            self._emit(Warned(step=task.step, message=message))
        return None

    def _compare(self, rows: Sequence[LabelRow]) -> None:
        """Stores how the labels of each group agree with each other and with every reward asked here."""
        for group, together in by_group(rows).items():
            ids = [row.id for row in together]
            if self._compared.get(group) != ids:
                known = self._group(group)
                judged = scores_by(self._automatic.asked, *known) if known else {}
                self._recorder.put_agreements([*between(together), *with_rewards(together, judged)])
                self._compared[group] = ids

    def _compare_with_run(self, rows: Sequence[LabelRow]) -> None:
        """Stores how the labels of each group agree with what the run's own reward said of it, once that is stored."""
        for group, together in by_group(rows).items():
            ids = [row.id for row in together]
            if self._compared_with_run.get(group) != ids and (judged := self._said_by_run(group)) is not None:
                self._compared_with_run[group] = ids
                if found := [*with_rewards(together, judged)]:
                    self._recorder.put_agreements(found)

    def _said_by_run(self, task_id: int) -> dict[str, Scores] | None:
        """What the run's own reward said of a group; None while the step is not done."""
        task = self._reader.label_task(task_id)
        assert task is not None, "a run that is live, and with it its groups, cannot be deleted"
        groups = self._reader.groups(self._run_id, task.step)
        members = [sample for group in groups if group.index == task.group_index for sample in group.samples]
        samples = sorted(members, key=lambda one: one.member)
        if tuple(sample.sha for sample in samples) == task.shas:
            return said_in_terms(self._automatic.trained, samples)
        return {} if groups else None  # of a group that was drawn anew, with other pictures, it said nothing


def study_of(
    config: RunConfig,
    parts: Parts,
    *,
    settings: Settings,
    reader: Reader,
    recorder: Recorder,
    emit: Callable[[Event], None],
) -> Study:
    """The study of the recorder's run, which asks people; settings are the lab's own."""
    facts = REWARD_FACTS.get(config.reward.train)  # one that is heavy, or asks a server, is not asked twice
    trained = {config.reward.train: parts.reward} if facts is not None and facts.is_light else {}
    quick = {name: new_reward(name) for name in QUICK_REWARDS}
    return Study(
        recorder.run_id,
        reader=reader,
        recorder=recorder,
        emit=emit,
        features=preference_features(config, parts.model, settings.folder),
        automatic=Automatic(asked=quick | trained, trained=config.reward.train),
        folder=settings.preferences(recorder.run_id),
        seed=config.seed,
    )


def _saved(folder: Path, reward: LearnedReward, about: About) -> None:
    try:
        save_preference(folder, reward, about)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}. Make room for it.") from error


def scores_by(rewards: Mapping[str, Reward], pictures: Sequence[Picture], prompt: str) -> dict[str, Scores]:
    """What each reward says of a group, of those that can read its prompt."""
    found: dict[str, Scores] = {}
    for name, reward in rewards.items():
        try:
            reward.check_prompts([prompt])
        except PromptError:
            continue
        found[name] = [one.reward for one in judge(reward, pictures, [prompt] * len(pictures))]
    return found


def said_in_terms(reward: str, samples: Sequence[SampleRow]) -> dict[str, Scores]:
    """What the reward that a setting names said of a group, and each part of a mixture, as far as its terms tell.

    It was not asked where people's word counts alone, which leaves nothing.
    """
    shares = parse_mixture(reward, "reward.train")
    is_mixture = len(shares) > 1 or shares[0].weight != 1
    terms = {share.name: share.name for share in shares} if is_mixture else {}
    terms[reward if is_mixture else shares[0].name] = "reward"
    said = {
        name: [next((value for kind, value in sample.terms if kind == term), None) for sample in samples]
        for name, term in terms.items()
    }
    return {name: scores for name, scores in said.items() if any(score is not None for score in scores)}


def with_rewards(rows: Sequence[LabelRow], judged: Mapping[str, Scores]) -> Iterable[Agreement]:
    """Every label of a group beside what each reward says of it."""
    for name, scores in judged.items():
        for row in rows:
            if (tau := agreement(scores_in(row), scores)) is not None:
                yield Agreement(row.id, "reward", name, tau)


def between(rows: Sequence[LabelRow]) -> Iterable[Agreement]:
    """Every label of a group beside every other: of the same person "self", of somebody else "person"."""
    for row in rows:
        for other in rows:
            if row.id == other.id:
                continue
            is_self = row.rater == other.rater
            if is_self and row.repeat_of is None:
                continue  # said once, of the repeat
            if not is_self and other.repeat_of is not None:
                continue  # what they said at first is what others are compared with
            if (tau := agreement(scores_in(row), scores_in(other))) is not None:
                yield Agreement(row.id, "self" if is_self else "person", other.rater, tau)

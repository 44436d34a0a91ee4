"""A person's own reward: a function or class of theirs, named as module:attribute or file.py:attribute.

Whoever may start a run may have this code run with all rights of the lab: it is trusted as the lab itself is. Recipes
of others that name such a reward deserve the look that a script of others deserves.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import OWN
from dgpo_core.rewards.contract import Judgement, Picture, Reward, Testable, Trial
from dgpo_core.rewards.patience import TookTooLongError, within
from dgpo_core.rewards.supplies import Supplies

METADATA = "metadata"
SECONDS_TO_LOAD = 600.0
"""A model may be read, or fetched, while the code is loaded."""


def own_reward(name: str, supplies: Supplies) -> Reward:
    """The reward that a name such as my_rewards:redness or my_rewards.py:redness stands for.

    A function is called with pictures and prompts, and with metadata (one mapping per picture) where it has a
    parameter of that name; it gives one number, None or Judgement per picture. A class is made without arguments.

    Raises:
        RewardError: there is no such module, file or attribute, or it cannot judge.
    """
    found = OWN.fullmatch(name)
    if found is None:
        raise RewardError(f"{name[:80]!r} names no reward of yours. Write module:attribute or file.py:attribute.")
    place, attribute = found["place"], found["attribute"]
    judge = _loaded(place, attribute, supplies.folder)
    if not callable(judge):
        raise RewardError(f"{name} is {type(judge).__name__}, which cannot judge. Name a function or a class.")
    return OwnReward(name, judge, supplies)


class OwnReward:
    """A callable of a person as a reward; what it gives besides numbers is checked by the contract."""

    def __init__(self, name: str, judge: Callable[..., Any], supplies: Supplies) -> None:
        self.name, self._judge, self._supplies = name, judge, supplies
        self._wants_metadata = METADATA in inspect.signature(judge).parameters

    def check_prompts(self, prompts: Sequence[str]) -> None:
        check = getattr(self._judge, "check_prompts", None)
        if check is not None:
            check(prompts)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        known = {METADATA: [self._supplies.note(prompt) for prompt in prompts]} if self._wants_metadata else {}
        answer = self._judge(pictures, prompts, **known)
        try:
            return [one if isinstance(one, Judgement) else Judgement(one) for one in answer]
        except TypeError as error:
            raise RewardError(
                f"The reward {self.name} gave {str(answer)[:80]!r}. It must give a list with one number per picture."
            ) from error

    def trials(self) -> list[Trial]:
        """Those that a person's class names itself."""
        return self._judge.trials() if isinstance(self._judge, Testable) else []


def _loaded(place: str, attribute: str, folder: Path) -> Any:
    """The function, or an object of the class; a person's code may raise anything, here as when it judges."""

    def load() -> Any:
        found = _from_file(place, attribute, folder) if place.endswith(".py") else _from_module(place, attribute)
        return found() if inspect.isclass(found) else found

    try:
        judge, failure = within(SECONDS_TO_LOAD, load)
    except TookTooLongError:
        raise RewardError(f"{place}:{attribute} did not load in {SECONDS_TO_LOAD:g} s. Look why it hangs.") from None
    if isinstance(failure, RewardError):
        raise failure
    if failure is not None:
        words = f"{type(failure).__name__}: {str(failure)[:300]}"
        raise RewardError(f"{place}:{attribute} cannot be loaded: {words}. Mend the file.") from failure
    return judge


def _from_module(place: str, attribute: str) -> Any:
    try:
        return pkgutil.resolve_name(f"{place}:{attribute}")
    except (ImportError, AttributeError, ValueError) as error:
        raise RewardError(
            f"{place}:{attribute} cannot be loaded: {error}. Name a module that Python finds from where the lab was "
            "started, or a file ending in .py."
        ) from error


def _from_file(place: str, attribute: str, folder: Path) -> Any:
    path = folder / place
    path = path if path.is_file() else Path(place)
    if not path.is_file():
        raise RewardError(f"There is no file {place}, so the reward in it cannot be loaded. Check its path.")
    spec = spec_from_file_location(f"own_reward_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RewardError(f"{place} is no Python file. Name a file ending in .py.")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in it look their module up
    try:
        spec.loader.exec_module(module)
        return getattr(module, attribute)
    except (ImportError, SyntaxError, AttributeError, NameError) as error:
        raise RewardError(f"{place}:{attribute} cannot be loaded: {error}. Mend the file.") from error

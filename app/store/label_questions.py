"""What the reader asks about labels, as SQL.

A group asked again is one like any other to the person who is to judge it. Whoever asks what a step learned from, or
what groups a run has, is told of no such group: it bears the number of the one it repeats, its pictures in another
order.
"""

from __future__ import annotations

from app.store.labelling import HEADS, IS_ASKED

LABELS_OF_PACE = 30

LABELS = f"""
SELECT heads.id, heads.task_id, tasks.step, tasks.group_index, heads.rater, heads.created, heads.kind, heads.body,
  heads.seconds, (SELECT count(*) FROM label_samples WHERE task_id = tasks.id) AS size, tasks.prompt, tasks.repeat_of,
  (SELECT json_group_array(place) FROM (SELECT place FROM label_samples WHERE task_id = tasks.id ORDER BY member))
    AS places
FROM label_tasks AS tasks JOIN ({HEADS}) AS heads ON heads.task_id = tasks.id
WHERE heads.kind <> 'skip'
"""
"""Everyone's newest labels, skips left out; to be narrowed down by AND."""
NEWEST_OF_STEP = """
SELECT max(id) FROM label_tasks WHERE run_id = ?1 AND step = ?2 AND repeat_of IS NULL GROUP BY group_index
"""
LOST_OF_STEP = f"""
SELECT group_index, json_group_array(is_lost) AS lost FROM (
  SELECT group_index, NOT EXISTS (SELECT 1 FROM pictures WHERE pictures.sha = one.sha) AS is_lost
  FROM label_tasks AS tasks JOIN label_samples AS one ON one.task_id = tasks.id
  WHERE tasks.id IN ({NEWEST_OF_STEP}) ORDER BY group_index, member
) GROUP BY group_index HAVING total(is_lost) > 0
"""
NEWEST_OF_RUN = """
SELECT step, group_index, max(id) AS id FROM label_tasks WHERE run_id = ? AND repeat_of IS NULL
GROUP BY step, group_index ORDER BY step, group_index
"""
LABELLED_STEPS = f"""
SELECT DISTINCT tasks.run_id, tasks.step FROM ({HEADS}) AS heads
JOIN label_tasks AS tasks ON tasks.id = heads.task_id AND tasks.repeat_of IS NULL AND heads.kind <> 'skip'
JOIN steps ON steps.run_id = tasks.run_id AND steps.step = tasks.step
ORDER BY tasks.run_id DESC, tasks.step DESC LIMIT ?
"""
TASK = """
SELECT tasks.id, run_id, runs.name AS run_name, runs.state AS run_state, closed IS NULL AS is_open, step, group_index,
  prompt
FROM label_tasks AS tasks JOIN runs ON runs.id = run_id WHERE tasks.id = ?
"""
LABELLED_IN_ORDER = f"""
SELECT task_id,
  EXISTS (SELECT 1 FROM label_tasks WHERE repeat_of = heads.task_id AND closed IS NULL) AS is_asked_again
FROM ({HEADS}) AS heads WHERE rater = ?1 AND kind <> 'skip'
ORDER BY (SELECT min(id) FROM labels WHERE rater = ?1 AND task_id = heads.task_id)
"""
"""Groups that a person labelled, the first one first. One that is asked again just now is not for their eyes."""
_LABELLED = f"SELECT task_id FROM ({HEADS}) AS heads WHERE heads.task_id = tasks.id AND kind <> 'skip'"
PROGRESS = f"""
SELECT count(*) AS num_open, total(EXISTS ({_LABELLED})) AS num_labelled,
  total(EXISTS ({_LABELLED} AND rater = :rater)) AS num_mine
FROM label_tasks AS tasks WHERE closed IS NULL AND {IS_ASKED}
"""
PACE = f"""
SELECT seconds FROM ({HEADS}) WHERE rater = ? AND kind <> 'skip' AND undoes IS NULL
ORDER BY id DESC LIMIT {LABELS_OF_PACE}
"""

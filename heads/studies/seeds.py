"""The same training with other seeds: how far a head's figures are luck.

HEAD-seed-0.safetensors and so on are the heads, named by their seed, with their own files beside
them; HEAD.seeds.json has each one's figures on the validation rows, which are the same for all,
their mean and standard deviation.
"""

from collections.abc import Mapping
from dataclasses import replace

from embed.errors import SettingsError
from heads.head import Head
from heads.studies.members import (
    Member,
    Plan,
    Running,
    Study,
    member_path,
    train_members,
    write_report,
)
from heads.wording import figures

REPORT = ".seeds.json"


def train_seeds(plan: Plan, num_seeds: int, running: Running | None = None) -> Study:
    """Train with `num_seeds` seeds, from that of the settings on; figures are of the val rows.

    Raises:
        SettingsError: fewer than 2 seeds; and what `train_head` raises.
        OutputExistsError: a file of the study exists, and neither `force` nor `resume`.
    """
    if num_seeds < 2:
        raise SettingsError(f"--seeds is at least 2, to tell a spread by: found {num_seeds}")
    first = plan.settings.training.seed
    members = [_member(plan, seed) for seed in range(first, first + num_seeds)]
    report = plan.beside(REPORT)
    study = train_members(plan.stores, members, [report], _reported, running or Running())
    rows = study.members[0].info.details["validation_rows"]
    write_report(study, "seeds", {"seeds": num_seeds, "validation_rows": rows})
    return study


def _member(plan: Plan, seed: int) -> Member:
    training = replace(plan.settings.training, seed=seed)
    settings = replace(plan.settings, training=training)
    name = f"seed {seed}"
    return Member(name, member_path(plan.output, name), plan.task, settings)


def _reported(member: Member, head: Head) -> tuple[int, Mapping[str, float]]:
    return head.info.num_validation, figures(head.info.metrics)

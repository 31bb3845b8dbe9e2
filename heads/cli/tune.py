"""`python -m heads tune`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embed.options import (
    force_option,
    json_option,
    output_option,
    print_json,
    print_table,
    store_argument,
    under,
    warn,
)
from embed.wording import counted
from heads.cli.group import main
from heads.cli.task_options import open_stores, task_of
from heads.cli.train import given_settings, refuse_split_with_folds
from heads.cli.train_options import KINDS, setting_options

if TYPE_CHECKING:
    from heads.studies.trials import Trial
    from heads.studies.tuning import Tuned

NUM_SHOWN = 5


@main.command()
@store_argument
@output_option(
    "The head of the best settings, a .safetensors; HEAD.trials.csv, HEAD.trials.png and the study "
    "go beside it."
)
@under(
    "Search",
    click.option(
        "--trials",
        type=int,
        default=50,
        help="Trials of the study in all, those that it has already among them.",
    ),
    click.option("--timeout-seconds", type=float, help="Begin no trial after so long."),
    click.option(
        "--study",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Where the trials are kept; gone on with where it is there.  [default: HEAD.study.db]",
    ),
    click.option(
        "--search",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE.yaml",
        help="What to search, instead of the usual: names of options with [a, b, c] or {low, high, "
        "log}.",
    ),
    click.option(
        "--search-option",
        multiple=True,
        metavar="NAME=LOW:HIGH[:log] or NAME=a,b,c",
        help="What to search of one option, beside the rest; repeatable.",
    ),
    click.option("--seeds", type=int, default=1, help="A trial's value is the mean over as many."),
    click.option(
        "--folds",
        type=int,
        metavar="K",
        help="A trial's value is the mean over K − 1 folds of groups, each validating once; the "
        "last fold is held out from all of them and from the head.",
    ),
)
@click.option("--kind", type=click.Choice(KINDS), default="projection", help="What kind of head.")
@setting_options
@force_option
@json_option
def tune(store: Path, output: Path, force: bool, as_json: bool, **options: Any) -> None:
    """Search the settings of a head, and train the best.

    Trials are judged on the val rows; the test rows stay unseen. An option of `heads train` that is
    given is fixed. The usual search is of a projection's body, size, dropout and start, its loss
    with margin and scale; of the hidden layer, dropout, mixup and weights of classes and rows of
    attributes; and of both the learning rate, weight decay, label smoothing, batch size and epochs.
    --search and --search-option say otherwise. The first trial is the settings without a search.

    A search that was stopped goes on where it was: give the same command again. With more --trials
    a finished one goes on as well, and replaces its head by the new best.
    """
    from heads.studies.drawing import Search
    from heads.studies.search import search_space
    from heads.studies.study_files import require_optuna
    from heads.studies.tuning import Budget, Telling
    from heads.studies.tuning import tune as tune_head

    require_optuna()
    seeds, folds = options.pop("seeds"), options.pop("folds")
    refuse_split_with_folds(folds, None)
    budget = Budget(options.pop("trials"), options.pop("timeout_seconds"))
    study, file, entries = (options.pop(name) for name in ("study", "search", "search_option"))
    kind = options["kind"]
    given = given_settings(kind, options)
    fixed = {name: value for name, value in given.items() if value is not None}
    space = search_space(kind, fixed, file, entries)
    progress = _Progress(budget.trials)
    telling = Telling(progress.found, progress)
    try:
        with ExitStack() as stack:
            stores = open_stores(stack, store, options["join"])
            search = Search(stores, task_of(kind, options), kind, fixed, space, seeds, folds)
            tuned = tune_head(search, budget, output, study, force=force, telling=telling)
    except KeyboardInterrupt:
        kept = study or output.with_suffix(".study.db")
        click.echo(f"stopped: trials are kept in {kept}, the same command goes on", err=True)
        raise click.exceptions.Exit(130) from None
    _report(tuned, output, as_json=as_json)


class _Progress:
    """A line on standard error for each trial."""

    def __init__(self, num_trials: int) -> None:
        self._num_trials = num_trials

    def found(self, num_trials: int) -> None:
        """Say that the study goes on."""
        left = max(0, self._num_trials - num_trials)
        click.echo(f"the study has {counted(num_trials, 'trial')}: {left} to go", err=True)

    def __call__(self, trial: "Trial", best: "Trial | None") -> None:
        reached = "failed" if trial.value is None else f"{trial.value:.4f}"
        so_far = "" if best is None else f" (best {best.value:.4f}, trial {best.number})"
        said = trial.error or trial.described
        click.echo(
            f"trial {trial.number} of {self._num_trials}: {reached}{so_far}, "
            f"{trial.seconds:.1f} s: {said}",
            err=True,
        )


def _report(tuned: "Tuned", output: Path, *, as_json: bool) -> None:
    from heads.studies.trials import best_first
    from heads.wording import spoken_metric

    for note in tuned.trained.notes:
        warn(note)
    best = best_first(tuned.trials)
    num_failed = sum(trial.state == "failed" for trial in tuned.trials)
    if as_json:
        print_json(
            {
                "head": str(output),
                "study": str(tuned.study),
                "metric": tuned.metric,
                "num_trials": len(tuned.trials),
                "num_failed": num_failed,
                "best": {"trial": best[0].number, "value": best[0].value},
                "settings": dict(best[0].settings),
                "metrics": dict(tuned.trained.info.metrics),
                "intervals": dict(tuned.trained.info.intervals),
            }
        )
        return
    rows = [
        [trial.described, str(trial.number), f"{trial.value:.4f}", f"{trial.seconds:.1f}"]
        for trial in best[:NUM_SHOWN]
    ]
    print_table("", ["settings", "trial", spoken_metric(tuned.metric), "seconds"], rows)
    failed = f", {num_failed} of them failed" if num_failed else ""
    click.echo(f"{output}: the best of {counted(len(tuned.trials), 'trial')}{failed}")
    click.echo(
        f"trials: {output.with_suffix('.trials.png')}, {output.with_suffix('.trials.csv')}; "
        f"study: {tuned.study}"
    )

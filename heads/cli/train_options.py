"""The options of `heads train`, in groups: what is learnt, from which rows, by what, and how.

An option without a value takes the default of the head's kind.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from embed.options import MemorySize, split_column_option, where_option

Command = Callable[..., Any]
TASK_OPTIONS = (
    "kind",
    "space",
    "weight",
    "join",
    "target",
    "category",
    "split",
    "split_seed",
    "group",
    "split_column",
    "where",
    "min_per_class",
    "max_per_class",
)
"""Options that say what is learnt from which rows; all others are settings."""

KINDS = ["projection", "attributes", "baseline:majority", "baseline:knn", "baseline:logistic"]


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator of several, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def number_option(name: str, kind: type, text: str) -> Any:
    """An option that takes the default of the head's kind where it is not given."""
    return click.option(name, type=kind, help=text)


join_option = click.option(
    "--join",
    multiple=True,
    type=click.Path(dir_okay=False),
    metavar="STORE",
    help="Another store with spaces of the same items, joined by id; repeatable.",
)

input_options = all_of(
    click.option("--space", multiple=True, required=True, help="A space to take in; repeatable."),
    click.option(
        "--weight",
        multiple=True,
        metavar="NAME=FACTOR",
        help="Scale the vectors of a space, which have length 1; repeatable.",
    ),
    join_option,
)

row_options = all_of(
    click.option(
        "--target",
        multiple=True,
        required=True,
        metavar="COLUMN",
        help="Projection: equal values should come near. Attributes: what to predict; repeatable.",
    ),
    click.option(
        "--category",
        metavar="COLUMN",
        help="Attributes: classifiers of their own for each value of this column.",
    ),
    click.option("--split", default="80/10/10", help="Per cent of groups for train/val/test."),
    click.option("--split-seed", type=int, default=0, help="Another seed splits otherwise."),
    click.option(
        "--group",
        metavar="COLUMN",
        help="Rows with equal values stay on one side.  [default: a projection's target; each row "
        "by itself for attributes]",
    ),
    split_column_option,
    where_option,
    click.option(
        "--min-per-class", type=int, default=1, help="Leave out classes with fewer training rows."
    ),
    click.option("--max-per-class", type=int, help="Train on as many rows of a class at most."),
)

projection_options = all_of(
    click.option(
        "--body",
        type=click.Choice(["linear", "mlp", "residual"]),
        help="Projection: a linear map, hidden layers, or the features plus a learnt correction.",
    ),
    number_option("--dim", int, "Projection: size of the new space.  [default: 256]"),
    number_option("--depth", int, "MLP: hidden layers.  [default: 1]"),
    number_option("--width", int, "MLP and residual: units of a hidden layer.  [default: 512]"),
    click.option("--normalization", type=click.Choice(["batch", "layer", "none"]), help="MLP's."),
    click.option("--activation", type=click.Choice(["relu", "gelu", "silu"]), help="MLP's."),
    click.option(
        "--start",
        type=click.Choice(["auto", "discriminants", "random"]),
        help="Where a linear map starts: linear discriminants of the training rows (auto), or "
        "random weights.",
    ),
)

attribute_options = all_of(
    number_option(
        "--hidden", int, "Attributes: units of the hidden layer; 0: linear.  [default: 256]"
    ),
    click.option(
        "--class-weights",
        is_flag=True,
        default=None,
        help="Attributes: rare classes count for more in the loss.",
    ),
    click.option(
        "--calibrate",
        is_flag=True,
        default=None,
        help="Attributes: fit temperatures on the validation rows, for honest probabilities.",
    ),
    number_option("--neighbours", int, "baseline:knn: how many vote.  [default: 10]"),
    click.option(
        "--voting",
        type=click.Choice(["weighted", "uniform"]),
        help="baseline:knn: whether nearer rows have more of a say.  [default: weighted]",
    ),
    number_option("--regularization", float, "baseline:logistic: scikit-learn's C.  [default: 10]"),
)

dropout_options = all_of(
    click.option(
        "--dropout",
        metavar="RATE[,RATE…]",
        help="Projection: share of features left out in training; several rates: multi-sample "
        "dropout.  [default: 0.2]  Attributes: share of hidden units.  [default: 0.5]",
    ),
    number_option("--input-dropout", float, "Attributes: share of features.  [default: 0.5]"),
)

loss_options = all_of(
    click.option(
        "--loss",
        type=click.Choice(
            ["arcface", "cosface", "softmax", "proxy-anchor", "supcon", "circle", "triplet"]
        ),
        help="Projection: what it learns by.  [default: arcface]",
    ),
    number_option("--scale", float, "Factor of the cosines in the softmax.  [default: 16]"),
    number_option("--margin-radians", float, "ArcFace's angular margin.  [default: 0.5]"),
    number_option(
        "--least-margin-radians",
        float,
        "ArcFace's margin of the largest class, --margin-radians being that of the smallest.",
    ),
    number_option("--margin-cosine", float, "Margin of the other losses, a difference of cosines."),
    number_option("--subcentres", int, "Centres for each class, of softmaxes.  [default: 1]"),
    click.option(
        "--triplet-mining",
        type=click.Choice(["semihard", "hard"]),
        help="Which triplets count.  [default: semihard]",
    ),
    number_option("--focal-gamma", float, "Rows that are right already count for less.  [0: off]"),
    number_option("--label-smoothing", float, "Share of the target spread over all classes."),
)

optimisation_options = all_of(
    number_option("--epochs", int, "Passes over the rows.  [default: 20; 40 for attributes]"),
    number_option("--batch-size", int, "Rows a step.  [default: 256 to 2,048, by the rows]"),
    click.option(
        "--sampler",
        type=click.Choice(["uniform", "class-balanced", "inverse-frequency", "m-per-class"]),
        help="How rows are drawn.  [default: uniform; m-per-class for supcon, circle, triplet]",
    ),
    number_option("--per-class", int, "Rows of a class in a batch of m-per-class.  [default: 4]"),
    click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="[default: adamw]"),
    number_option("--learning-rate", float, "[default: 0.0005; 0.002 for attributes]"),
    number_option("--centre-learning-rate", float, "That of class centres.  [default: the same]"),
    number_option("--weight-decay", float, "Of weights alone.  [default: 0.01]"),
    number_option("--momentum", float, "SGD's.  [default: 0.9]"),
    click.option(
        "--schedule",
        type=click.Choice(["cosine", "step", "multi-step", "one-cycle", "constant"]),
        help="[default: cosine]",
    ),
    number_option(
        "--warmup-epochs", float, "cosine: epochs of rising learning rate.  [default: 2]"
    ),
    click.option("--milestones", metavar="EPOCH,EPOCH…", help="multi-step: when the rate falls."),
    number_option("--step-epochs", float, "step: epochs between falls."),
    number_option("--gamma", float, "step, multi-step: factor of the rate.  [default: 0.1]"),
    number_option("--clip-norm", float, "Longest gradient; longer ones are shortened."),
    number_option("--ema-decay", float, "Keep a moving average of the weights.  [0: off]"),
    number_option("--noise", float, "Noise added to features, as a share of their length."),
    number_option("--mixup", float, "Mix pairs of rows: α of the Beta distribution of shares."),
    number_option("--patience", int, "Stop after as many epochs without a better one."),
    click.option(
        "--keep",
        type=click.Choice(["best", "last"]),
        help="Which epoch is kept.  [default: best; last for attributes]",
    ),
)

run_options = all_of(
    number_option("--seed", int, "Seed of weights, dropout and order.  [default: 0]"),
    click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: auto]"),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        help="Of large products; auto: bf16 where hardware multiplies it (on a CPU from 50,000 "
        "items on).  [default: auto]",
    ),
    click.option(
        "--memory",
        "memory_bytes",
        type=MemorySize(),
        help="Features held in memory at most, such as 2GiB; more are read again and again.  "
        "[default: half of what is free]",
    ),
)

one_run_options = all_of(
    click.option(
        "--resume", is_flag=True, help="Go on from the last epoch of a run that was stopped."
    ),
    click.option(
        "--tensorboard",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Write event files to DIR/HEAD, for TensorBoard to draw.",
    ),
)

setting_options = all_of(
    input_options,
    row_options,
    projection_options,
    attribute_options,
    dropout_options,
    loss_options,
    optimisation_options,
    run_options,
)
"""What is learnt, from which rows, by what and how: of `heads tune` as well."""

train_options = all_of(setting_options, one_run_options)

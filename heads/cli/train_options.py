"""The options of `heads train`, in groups: what is learnt, from which rows, by what, and how.

An option without a value takes the default of the head's kind.
"""

from pathlib import Path
from typing import Any

import click

from embed.options import MemorySize, all_of, split_column_option, under, where_option

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

input_options = under(
    "Features",
    click.option("--space", multiple=True, required=True, help="A space to take in; repeatable."),
    click.option(
        "--weight",
        multiple=True,
        metavar="NAME=FACTOR",
        help="Scale the vectors of a space, which have length 1; for attributes on top of what the "
        "space tells of the classes; repeatable.  [default: 1]",
    ),
    join_option,
)

row_options = under(
    "Targets and rows",
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
        help="Attributes: classifiers of their own for each value of this column.  [default: the "
        "same for all rows]",
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
    click.option(
        "--max-per-class",
        type=int,
        help="Train on as many rows of a class at most.  [default: all]",
    ),
)

projection_options = under(
    "Network of a projection",
    click.option(
        "--body",
        type=click.Choice(["linear", "mlp", "residual"]),
        help="A linear map, hidden layers, or the features plus a learnt correction.  "
        "[default: linear]",
    ),
    number_option(
        "--dim", int, "Size of the new space; residual keeps that of the features.  [default: 256]"
    ),
    number_option("--depth", int, "mlp, residual: number of hidden layers.  [default: 1]"),
    number_option("--width", int, "mlp, residual: units of a hidden layer.  [default: 512]"),
    click.option(
        "--normalization",
        type=click.Choice(["batch", "layer", "none"]),
        help="mlp, residual: how the outputs of a hidden layer are normalised.  [default: batch]",
    ),
    click.option(
        "--activation",
        type=click.Choice(["relu", "gelu", "silu"]),
        help="mlp, residual: what follows a hidden layer.  [default: relu]",
    ),
    click.option(
        "--start",
        type=click.Choice(["auto", "discriminants", "random"]),
        help="Where a linear map starts: linear discriminants of the training rows (auto), or "
        "random weights.  [default: auto]",
    ),
)

attribute_options = under(
    "Attributes and baselines",
    number_option(
        "--hidden", int, "Attributes: units of the hidden layer; 0: linear.  [default: 256]"
    ),
    number_option(
        "--linear-share",
        float,
        "Attributes: share of a logistic regression, fitted beside the hidden layers, in the "
        "logits.  [default: fitted on the val rows, or 0 where a regression takes long]",
    ),
    click.option(
        "--class-weights",
        is_flag=True,
        default=None,
        help="Attributes: rare classes count for more in the loss.  [default: off]",
    ),
    click.option(
        "--calibrate",
        is_flag=True,
        default=None,
        help="Attributes: fit a temperature on the validation rows, for honest probabilities.  "
        "[default: off]",
    ),
    number_option("--neighbours", int, "baseline:knn: how many vote.  [default: 10]"),
    click.option(
        "--voting",
        type=click.Choice(["weighted", "uniform"]),
        help="baseline:knn: whether nearer rows have more of a say.  [default: weighted]",
    ),
    number_option("--regularization", float, "baseline:logistic: scikit-learn's C.  [default: 10]"),
)

dropout_options = under(
    "Dropout",
    click.option(
        "--dropout",
        metavar="RATE[,RATE…]",
        help="Projection: share of features left out in training; several rates: multi-sample "
        "dropout.  [default: 0.2]  Attributes: share of hidden units.  [default: 0.5]",
    ),
    number_option("--input-dropout", float, "Attributes: share of features.  [default: 0.5]"),
)

loss_options = under(
    "Loss",
    click.option(
        "--loss",
        type=click.Choice(
            ["arcface", "cosface", "softmax", "proxy-anchor", "supcon", "circle", "triplet"]
        ),
        help="What a projection learns by.  [default: arcface]",
    ),
    number_option(
        "--scale", float, "Factor of the cosines, of all losses but triplet.  [default: 16]"
    ),
    number_option("--margin-radians", float, "arcface: angular margin.  [default: 0.5]"),
    number_option(
        "--least-margin-radians",
        float,
        "arcface: margin of the largest class, --margin-radians being that of the smallest.  "
        "[default: the same]",
    ),
    number_option(
        "--margin-cosine",
        float,
        "Margin of other losses, a difference of cosines.  [default: cosface 0.35, proxy-anchor "
        "0.1, circle 0.4, triplet 0.2]",
    ),
    number_option(
        "--subcentres", int, "arcface, cosface, softmax: centres for each class.  [default: 1]"
    ),
    click.option(
        "--triplet-mining",
        type=click.Choice(["semihard", "hard"]),
        help="triplet: which ones count.  [default: semihard]",
    ),
    number_option(
        "--focal-gamma",
        float,
        "Softmaxes and attributes: rows that are right already count for less.  [default: 0, off]",
    ),
    number_option(
        "--label-smoothing",
        float,
        "Softmaxes and attributes: share of the target spread over all classes.  [default: 0]",
    ),
)

optimisation_options = under(
    "Training",
    number_option("--epochs", int, "Passes over the rows.  [default: 20; 40 for attributes]"),
    number_option("--batch-size", int, "Rows a step.  [default: 256 to 2,048, by the rows]"),
    click.option(
        "--sampler",
        type=click.Choice(["uniform", "class-balanced", "inverse-frequency", "m-per-class"]),
        help="How rows are drawn.  [default: uniform; m-per-class for supcon, circle, triplet]",
    ),
    number_option("--per-class", int, "Rows of a class in a batch of m-per-class.  [default: 4]"),
    click.option(
        "--optimizer", type=click.Choice(["adamw", "sgd"]), help="Of all weights.  [default: adamw]"
    ),
    number_option(
        "--learning-rate", float, "The highest.  [default: 0.0005; 0.002 for attributes]"
    ),
    number_option("--centre-learning-rate", float, "That of class centres.  [default: the same]"),
    number_option("--weight-decay", float, "Of weights alone.  [default: 0.01]"),
    number_option(
        "--momentum", float, "sgd: share of each step that goes into the next.  [default: 0.9]"
    ),
    click.option(
        "--schedule",
        type=click.Choice(["cosine", "step", "multi-step", "one-cycle", "constant"]),
        help="How the learning rate goes over the epochs.  [default: cosine]",
    ),
    number_option(
        "--warmup-epochs", float, "cosine: epochs of rising learning rate.  [default: 2]"
    ),
    click.option(
        "--milestones", metavar="EPOCH,EPOCH…", help="multi-step: when the rate falls; to be given."
    ),
    number_option("--step-epochs", float, "step: epochs between falls; to be given."),
    number_option("--gamma", float, "step, multi-step: factor of the rate.  [default: 0.1]"),
    number_option(
        "--clip-norm", float, "Longest gradient; longer ones are shortened.  [default: any]"
    ),
    number_option("--ema-decay", float, "Keep a moving average of the weights.  [default: 0, off]"),
    number_option(
        "--noise", float, "Noise added to features, as a share of their length.  [default: 0]"
    ),
    number_option(
        "--mixup",
        float,
        "Mix pairs of rows: α of the Beta distribution of shares.  [default: 0, off]",
    ),
    number_option(
        "--patience", int, "Stop after as many epochs without a better one.  [default: never]"
    ),
    click.option(
        "--keep",
        type=click.Choice(["best", "last"]),
        help="Which epoch is kept.  [default: best; last for attributes]",
    ),
)

run_options = under(
    "Machine",
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

one_run_options = under(
    "A run that is stopped or watched",
    click.option(
        "--resume",
        is_flag=True,
        help="Go on from the checkpoint of a run that was stopped; a finished head stays as it is.",
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

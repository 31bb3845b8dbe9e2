"""A projection head in training: equal values of the target come near."""

from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from embed.errors import SelectionError, SettingsError
from embed.rows import codes, has_value, select_rows
from embed.store import Store
from embed.wording import counted
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.info import HeadInfo
from heads.kinds import PROJECTION
from heads.projection.bodies import Body, LinearBody, make_body, project
from heads.projection.losses import MetricLoss
from heads.projection.settings import ProjectionSettings
from heads.projection.start import class_centres, discriminants, unfit_for_discriminants
from heads.projection.validation import ProjectionValidation
from heads.tables import open_tables
from heads.tasks import Sides, Task, choose_sides, limited
from heads.training.augmentation import mixed, with_noise
from heads.training.loop import Learner, Reported
from heads.training.settings import Runtime, TrainingSettings


class ProjectionLearner(Learner):
    """A body, its loss with the classes' centres, and row F1 on the validation rows.

    By a split of groups, validation has no class of training; a split column may share classes.

    Raises:
        StoreError: a space or column that the store does not have, or vectors that are not finite.
        SelectionError: fewer than two classes to train on, or no two validation rows that match.
        SettingsError: a start, sampler or features that don't fit.
    """

    network: Body
    chosen_by = ProjectionValidation.chosen_by

    def __init__(
        self,
        stores: FeatureStores,
        task: Task,
        settings: ProjectionSettings,
        training: TrainingSettings,
        runtime: Runtime,
    ) -> None:
        self._settings, self._training, self._runtime = settings, training, runtime
        references = refer_to(stores, task.spaces, task.weights)
        values = stores.items.column(_only_target(task))
        labelled = has_value(values)
        _refuse_one_class(stores.items, task, labelled)
        chosen = choose_sides(stores.items, task, labelled)
        sides, self.notes = limited(stores.items, task, chosen, labelled)
        classes, labels = np.unique(values[sides.train], return_inverse=True)
        self.val_labels = codes(values[sides.val])
        _refuse_unfit(task, sides, classes, self.val_labels)
        reader = FeatureReader(stores, references)
        self.table, val_table = open_tables(
            reader, (sides.train, sides.val), runtime.device, training.memory_bytes
        )
        self._validation = ProjectionValidation(val_table, self.val_labels)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(runtime.device)
        self.rows = sides
        sizes = torch.bincount(self.labels, minlength=len(classes))
        self._starts_at_discriminants = self._can_start(len(classes))
        self.network = make_body(self.table.num_features, settings.body).to(runtime.device)
        self._loss = MetricLoss(sizes, self._dim(), settings.loss, runtime.precision)
        self._loss.to(runtime.device)
        self.info = HeadInfo(
            kind=PROJECTION,
            spaces=references,
            targets=task.targets,
            splits=(task.split,),
            settings=asdict(settings.body),
            training={
                **asdict(training),
                "loss": asdict(settings.loss),
                "start": settings.start,
                **asdict(task.limits),
            },
            num_train=len(sides.train),
            num_validation=len(sides.val),
            metrics={},
            classes=tuple(map(str, classes)),
            where=tuple(f"{where.column}={where.value}" for where in task.where),
        )

    @property
    def centres(self) -> nn.Module | None:
        """The classes' centres, where the loss has some."""
        return self._loss if self._loss.has_centres else None

    def start(self) -> None:
        """Linear discriminants where they are wanted, and centres at the means of their classes."""
        if not self._starts_at_discriminants:
            return
        generator = torch.Generator().manual_seed(self._training.seed)
        try:
            weight, bias = discriminants(self.table, self.labels, self._dim(), generator)
        except SettingsError as error:
            self._start_at_random(str(error))
        else:
            self._start_at(weight, bias, generator)

    def loss(self, index: Int[Tensor, " b"], features: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """The mean loss of a batch, with the noise and mixtures of the settings."""
        augmentation = self._training.augmentation
        labels = self.labels[index.to(self.labels.device)]
        features = with_noise(features, augmentation.noise)
        if not augmentation.mixup:
            loss: Tensor = self._loss(self._vectors(features), labels)
            return loss
        mixture = mixed(features, augmentation.mixup)
        vectors = self._vectors(mixture.features)
        own, other = self._loss(vectors, labels), self._loss(vectors, labels[mixture.partners])
        both: Tensor = mixture.share * own + (1 - mixture.share) * other
        return both

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Row F1 of the validation rows among themselves, at the threshold that is best for it."""
        return self._validation.metrics_of(self._validation.outputs(network))

    def report(self, network: nn.Module) -> Reported:
        """The same with its interval; optimistic, the threshold being chosen on these rows."""
        return self._validation.report_of(self._validation.outputs(network))

    def _can_start(self, num_classes: int) -> bool:
        """Whether to start at discriminants: a start that nobody asked for gives way."""
        if not self._settings.wants_discriminants:
            return False
        table = self.table
        unfit = unfit_for_discriminants(table.num_rows, table.num_features, num_classes)
        if unfit:
            self._start_at_random(unfit)
        return not unfit

    def _start_at_random(self, reason: str) -> None:
        """Say why, or raise where discriminants were asked for."""
        if self._settings.start == "discriminants":
            raise SettingsError(reason)
        self.notes += (f"training starts at random weights: {reason.partition(';')[0]}",)

    def _start_at(
        self, weight: Float[Tensor, "e d"], bias: Float[Tensor, " e"], generator: torch.Generator
    ) -> None:
        body = self.network
        assert isinstance(body, LinearBody)  # the settings have refused discriminants of others
        with torch.no_grad():
            body.linear.weight.copy_(weight)
            body.linear.bias.copy_(bias)
        if self._loss.has_centres:
            num_classes = len(self.info.classes)
            centres = class_centres(self._project, self.table, self.labels, num_classes)
            self._loss.set_centres(centres, generator)

    def _dim(self) -> int:
        return self.network.dim

    def _vectors(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        with self._runtime.autocast():
            vectors: Tensor = self.network(features)
        return vectors.float()

    def _project(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        return project(self.network, features)


def _only_target(task: Task) -> str:
    if len(task.targets) != 1 or task.category is not None:
        raise SettingsError(
            f"a projection learns one --target, and no --category: found "
            f"{', '.join(task.targets) or 'none'}; for several there is --kind attributes"
        )
    return task.targets[0]


def _refuse_one_class(store: Store, task: Task, labelled: Bool[np.ndarray, " n"]) -> None:
    """Before the sides, of which it would leave some empty, and say less."""
    values = store.column(task.targets[0])[select_rows(store, task.where) & labelled]
    if len(values) and (values == values[0]).all():
        raise SelectionError(
            f"column '{task.targets[0]}' of {store.path} has one class only, '{values[0]}', in "
            f"{counted(len(values), 'row')}: a head needs at least 2; look at --target and --where"
        )


def _refuse_unfit(
    task: Task, sides: Sides, classes: Shaped[np.ndarray, " c"], val_labels: Int[np.ndarray, " m"]
) -> None:
    target = task.targets[0]
    if len(classes) < 2:
        raise SelectionError(
            f"column '{target}' has {counted(len(classes), 'class')} in "
            f"{counted(len(sides.train), 'training row')}: "
            f"a head needs at least 2; look at --target, --where, --min-per-class and --split"
        )
    if len(np.unique(val_labels)) == len(val_labels):
        raise SelectionError(
            f"no two of the {len(val_labels)} validation rows share a value of '{target}', so the "
            f"best epoch can't be told: give validation a larger share with --split"
        )

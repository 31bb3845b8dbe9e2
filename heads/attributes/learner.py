"""An attribute head in training: one classifier for each attribute of each category."""

from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embed.errors import SelectionError
from heads.attributes.calibration import calibrate
from heads.attributes.inputs import InputStatistics
from heads.attributes.logistic import fit_logistic
from heads.attributes.loss import attribute_loss, balanced_weights, weights_of_labels
from heads.attributes.network import AttributeNetwork
from heads.attributes.rows import AttributeRows, attribute_info, attribute_rows
from heads.attributes.settings import AttributeHeadSettings
from heads.attributes.shares import fit_share
from heads.attributes.validation import AttributeValidation
from heads.features import FeatureReader, FeatureStores, refer_to
from heads.kinds import ATTRIBUTES
from heads.tables import open_tables
from heads.tasks import Task
from heads.training.augmentation import mixed, with_noise
from heads.training.loop import Learner, Reported
from heads.training.settings import Runtime, TrainingSettings

ROWS_TO_STANDARDISE_BY = 65_536
ROWS_PER_BLOCK = 1024


class AttributeLearner(Learner):
    """A network over all pairs of category and attribute, and the score of the validation rows.

    Raises:
        StoreError: a space or column that the store does not have, or vectors that are not finite.
        SelectionError: a side without rows, a target with fewer than two classes, or one class
            for each attribute of each category.
    """

    network: AttributeNetwork
    chosen_by = AttributeValidation.chosen_by

    def __init__(
        self,
        stores: FeatureStores,
        task: Task,
        settings: AttributeHeadSettings,
        training: TrainingSettings,
        runtime: Runtime,
    ) -> None:
        self._settings, self._training, self._runtime = settings, training, runtime
        references = refer_to(stores, task.spaces, task.weights)
        data = attribute_rows(stores.items, task)
        self.rows, self.notes = data.sides, data.notes
        _refuse_constant(data)
        reader = FeatureReader(stores, references)
        device = runtime.device
        self.table, val_table = open_tables(
            reader, (data.sides.train, data.sides.val), device, training.memory_bytes
        )
        self._validation = AttributeValidation(val_table, data.vocabulary, data.val, data.groups)
        self._categories = torch.from_numpy(data.train.categories).to(device)
        self._labels = torch.from_numpy(data.train.labels).to(device)
        self.labels = _classes_to_draw_by(data)
        self._data = data
        counts = torch.from_numpy(data.vocabulary.class_counts()).to(device)
        self._class_weights = balanced_weights(counts) if settings.class_weights else None
        num_classes, num_features = data.vocabulary.num_classes(), self.table.num_features
        num_products = int((counts.sum(dim=-1).cpu().numpy() * num_classes).sum()) * num_features
        network = settings.network.for_data(self.table.num_rows * num_features, num_products)
        self.network = AttributeNetwork(num_features, num_classes, network).to(device)
        self.info = attribute_info(
            ATTRIBUTES,
            task,
            references,
            data,
            settings=asdict(network),
            training={
                **asdict(training),
                "class_weights": settings.class_weights,
                "focal_gamma": settings.focal_gamma,
                "label_smoothing": settings.label_smoothing,
                "calibrate": settings.calibrate,
            },
        )

    def start(self) -> None:
        """Scale features by those of the training rows, at most some ten thousand of them.

        A space has the weight that these rows suggest, times the one that the task gives it.
        """
        generator = torch.Generator().manual_seed(self._training.seed)
        rows = torch.randperm(self.table.num_rows, generator=generator)[:ROWS_TO_STANDARDISE_BY]
        blocks = self.table.batches(torch.split(rows.sort().values, ROWS_PER_BLOCK))
        statistics = InputStatistics(blocks, self._categories, self._labels)
        self.network.fit_inputs(statistics)
        spaces, device = self.info.spaces, self.table.device
        sizes = torch.tensor([space.dim for space in spaces], device=device)
        given = torch.tensor([space.weight for space in spaces], device=device)
        weights = given * statistics.space_weights(sizes.tolist())
        self.network.input_scale.mul_(weights.repeat_interleave(sizes))
        if self.network.beside is not None:
            self._fit(self.network.beside)

    def _fit(self, linear: AttributeNetwork) -> None:
        """Fit the logistic regression that stands beside what is trained."""
        rows = torch.arange(self.table.num_rows)
        blocks = self.table.batches(torch.split(rows, ROWS_PER_BLOCK))
        features = torch.cat([features.cpu() for _, features in blocks])
        # Where it does not converge, it is as good as it needs to be here.
        with torch.random.fork_rng(devices=()):  # what is learnt is the same without it
            fitted, _ = fit_logistic(self._data.vocabulary, features.numpy(), self._data.train)
        linear.load_state_dict(fitted.state_dict())

    def loss(self, index: Int[Tensor, " b"], features: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """The mean loss of a batch; rows are mixed within their category only."""
        augmentation = self._training.augmentation
        index = index.to(self._labels.device)
        categories, labels = self._categories[index], self._labels[index]
        features = with_noise(features, augmentation.noise)
        if not augmentation.mixup:
            return self._loss(self._logits(features, categories), categories, labels)
        mixture = mixed(features, augmentation.mixup, categories)
        logits = self._logits(mixture.features, categories)
        own = self._loss(logits, categories, labels)
        other = self._loss(logits, categories, labels[mixture.partners])
        return mixture.share * own + (1 - mixture.share) * other

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Attribute score and accuracy of the validation rows."""
        return self._validation.metrics_of(self._validation.outputs(network))

    def report(self, network: nn.Module) -> Reported:
        """Every score, with intervals, by pair; `calibrate` sets the network's temperature.

        The share of a linear classifier that stands beside is fitted before, unless it was given.
        """
        share = self._fitted_share(network)
        logits = self._validation.outputs(network)
        reported = self._validation.report_of(logits)
        if share is not None:
            reported = replace(reported, details={**reported.details, "linear_share": share})
        if not self._settings.calibrate:
            return reported
        calibration = calibrate(logits, self._validation.codes)
        self.network.temperature.fill_(calibration.temperature)
        details = {**reported.details, "calibration": asdict(calibration)}
        return replace(reported, details=details)

    def _fitted_share(self, network: nn.Module) -> float | None:
        """What the linear classifier has to say from now on; None where there is none."""
        assert isinstance(network, AttributeNetwork)
        if network.beside is None:
            return None
        if self._settings.network.linear_share is None:
            learned, linear = (self._outputs_at(network, share) for share in (0.0, 1.0))
            share = fit_share(learned, linear, self._validation.codes.labels)
            network.linear_share.fill_(share)
        return float(network.linear_share)

    def _outputs_at(self, network: AttributeNetwork, share: float) -> Float[np.ndarray, "m a k"]:
        network.linear_share.fill_(share)
        return self._validation.outputs(network)

    def _logits(
        self, features: Float[Tensor, "b d"], categories: Int[Tensor, " b"]
    ) -> Float[Tensor, "b a k"]:
        with self._runtime.autocast():
            logits: Tensor = self.network.learned(features, categories)
        return logits.float()

    def _loss(
        self,
        logits: Float[Tensor, "b a k"],
        categories: Int[Tensor, " b"],
        labels: Int[Tensor, "b a"],
    ) -> Float[Tensor, ""]:
        weights = None
        if self._class_weights is not None:
            weights = weights_of_labels(self._class_weights, categories, labels)
        settings = self._settings
        return attribute_loss(
            logits, labels, weights, settings.label_smoothing, settings.focal_gamma
        )


def _refuse_constant(data: AttributeRows) -> None:
    if int(data.vocabulary.num_classes().max()) < 2:
        raise SelectionError(
            "each attribute has one class in each category of the training rows, so there is "
            "nothing to learn: leave --category out, or look at --target and --where"
        )


def _classes_to_draw_by(data: AttributeRows) -> Int[Tensor, " n"]:
    """The first target's class within its category, missing being one of them."""
    keys = np.stack([data.train.categories, data.train.labels[:, 0]])
    return torch.from_numpy(np.unique(keys, axis=1, return_inverse=True)[1].astype(np.int64))

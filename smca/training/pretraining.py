"""UP-DETR's pre-training without labels (Dai et al., CVPR 2021), for SMCA, DETR and what lies between them.

Random crops of a picture are shown to the decoder, each to a group of its queries, which must find where the crop was
cut. With f the frozen backbone's features of a crop, averaged:

    prompt = Linear(f), added to the positions of the crop's queries; a tenth of the queries get none
    loss   = matched or not (cross-entropy) + 5 L1 + 2 (1 - GIoU), each group matched with its crop alone,
             + |g / |g| - f / |f||^2 for the matched query of the last layer, g = MLP(decoder output)

Groups do not see one another in self-attention. The class head is not trained: fine-tuning (`--init`) makes its own.
Raises ConfigurationError for a recipe of another architecture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import box_convert, roi_align
from torchvision.transforms import v2
from transformers import set_seed

from smca.criterion.losses import LossWeights, SetCriterion, apart
from smca.criterion.matching import MatchingCosts, match
from smca.criterion.targets import gather_targets
from smca.data.dataset import generator_for
from smca.data.images import load_image
from smca.errors import ConfigurationError
from smca.files import claim_folder
from smca.inference.loading import pick_device
from smca.inference.saving import save_model
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.progress import Progress
from smca.training.detector import new_detector
from smca.training.finite import require_finite
from smca.training.recipe import Recipe
from smca.training.standing import Standing
from smca.training.weights import load_backbone

MOST_CROPS = 10
MASKED = 0.1
SMALLEST, LARGEST = 0.1, 0.5  # sides of a crop, in sides of the picture
WEIGHTS = LossWeights(1.0, 5.0, 2.0)
COSTS = MatchingCosts(1.0, 5.0, 2.0)


class Puzzle(NamedTuple):
    """A picture [3, H, W] and P crops of it: patches [P, 3, S, S] and boxes [P, 4] (cx, cy, w, h)."""

    image: Tensor
    patches: Tensor
    boxes: Tensor


class Puzzles(Dataset[Puzzle]):
    """Item i of epoch e is a function of (seed, e, i), but for the jitter of its crops."""

    def __init__(self, files: Sequence[Path], crops: int, side: int, seed: int) -> None:
        self.files, self.crops, self.side, self.seed = files, crops, side, seed
        self.epoch = 0
        blur = v2.RandomApply([v2.GaussianBlur(5)], p=0.5)
        self.jitter = v2.Compose([v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomGrayscale(0.2), blur])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Puzzle:
        image = load_image(self.files[index])
        draw = torch.rand(self.crops, 4, generator=generator_for(self.seed, self.epoch, index))
        size = SMALLEST + (LARGEST - SMALLEST) * draw[:, :2]
        boxes = torch.cat([size / 2 + (1 - size) * draw[:, 2:], size], dim=1)
        scale = torch.tensor(image.shape[:0:-1]).repeat(2)
        corners = box_convert(boxes, "cxcywh", "xyxy") * scale
        patches = roi_align(image.float()[None], [corners], (self.side, self.side), sampling_ratio=1)
        jittered = torch.stack([self.jitter(patch) for patch in (patches / 255).clamp(0, 1)])
        return Puzzle(image, jittered, boxes)


class Pretrainer(nn.Module):
    """The detector, and what only pre-training needs."""

    def __init__(self, detector: SmcaForObjectDetection, processor: SmcaImageProcessor) -> None:
        super().__init__()
        self.detector, self.processor = detector, processor
        width = detector.config.d_model
        self.level = list(detector.backbone.levels.values())[-1]
        self.crops = crops_for(detector.config.num_queries)
        self.prompt = nn.Linear(self.level.channels, width)
        self.matched = nn.Linear(width, 2)
        self.rebuild = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.level.channels))
        self.criterion = SetCriterion("softmax", WEIGHTS, COSTS)

    def forward(self, puzzles: Sequence[Puzzle]) -> Tensor:
        """The loss [] of a batch."""
        detector = self.detector
        device = detector.device
        inputs = self.processor(
            images=[one.image for one in puzzles], input_data_format="channels_first", return_tensors="pt"
        ).to(device)
        feature = self._features(torch.stack([one.patches for one in puzzles]).to(device))
        tokens = detector.encoder(detector.tokens(inputs["pixel_values"], inputs["pixel_mask"]), False, False)
        decoded = detector.decoder(tokens, detector.box_head, prompt=self._prompts(feature), groups=self.crops)
        boxes = detector.box_head(decoded.outputs, decoded.centre_logits)
        return self._loss(decoded.outputs, boxes, feature, torch.stack([one.boxes for one in puzzles]).to(device))

    @torch.no_grad()
    def _features(self, patches: Tensor) -> Tensor:
        """[B, P, 3, S, S] in [0, 1] -> [B, P, channels], averaged over the cells of the coarsest level."""
        mean, std = (
            torch.tensor(values, device=patches.device)[:, None, None]
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        maps = self.detector.backbone((patches.flatten(0, 1) - mean) / std, None)
        return maps[self.level.name].mean(dim=(-2, -1)).unflatten(0, patches.shape[:2])

    def _prompts(self, feature: Tensor) -> Tensor:
        """[B, N, C]: each crop's prompt for all queries of its group, none for a tenth of them."""
        each = self.detector.config.num_queries // self.crops
        prompts = self.prompt(feature).repeat_interleave(each, dim=1)
        return prompts * (torch.rand(prompts.shape[:2], device=prompts.device) >= MASKED)[..., None]

    def _loss(self, outputs: Tensor, boxes: Tensor, feature: Tensor, wanted: Tensor) -> Tensor:
        """Every group is an image of its own with one box: [L, B, N, ...] -> [L, B P, N / P, ...]."""
        logits, framed, seen = (apart(part, self.crops) for part in (self.matched(outputs), boxes, outputs))
        rows = wanted.flatten(0, 1)[:, None]
        targets = [{"class_labels": torch.zeros(1, dtype=torch.int64), "boxes": box} for box in rows]
        loss, _ = self.criterion(logits, framed, targets)
        found = gather_targets(targets, like=framed)
        query = match(logits[-1:].detach(), framed[-1:].detach(), found, self.criterion.term, COSTS)[0]
        rebuilt = self.rebuild(seen[-1, found.image, query])
        distance = (F.normalize(rebuilt, dim=-1) - F.normalize(feature.flatten(0, 1), dim=-1)).square().sum(dim=-1)
        return loss + distance.mean()


def crops_for(queries: int) -> int:
    """As many crops, up to ten, as divide the queries into equal groups."""
    return max(count for count in range(1, MOST_CROPS + 1) if queries % count == 0)


def pretrain(
    files: Sequence[Path], recipe: Recipe, epochs: int, out: Path, seed: int = 0, device: str | None = None
) -> float:
    """Pre-train the recipe's model on pictures and write a MODEL for `--init` to `out`; returns the seconds it took.

    One that was stopped before goes on after its last epoch.
    """
    place = pick_device(device)
    set_seed(seed)
    detector = new_detector(recipe.config(("object",)))
    if not isinstance(detector, SmcaForObjectDetection):
        raise ConfigurationError(f"'{recipe.name}' cannot be pre-trained; allowed: recipes of SMCA and DETR")
    claim_folder(out, "choose another --out or delete it")
    load_backbone(detector.backbone, detector.config.backbone, recipe.backbone_weights)
    detector.backbone.requires_grad_(False)
    processor = SmcaImageProcessor.suited_to(
        detector.config, {"shortest_edge": recipe.image_size, "longest_edge": recipe.long_side}
    )
    side = 128 if recipe.image_size >= 512 else 64
    puzzles = Puzzles(files, crops_for(detector.config.num_queries), side, seed)
    asked = {
        "files": [str(file.resolve()) for file in files],
        "recipe": recipe.to_yaml(),
        "epochs": epochs,
        "seed": seed,
    }
    with Progress("pre-training") as progress:
        standing = _train(Pretrainer(detector, processor).to(place), puzzles, recipe, out, asked, progress)
    save_model(detector, processor, out)
    standing.forget()
    return standing.seconds


def _train(
    model: Pretrainer, puzzles: Puzzles, recipe: Recipe, out: Path, asked: dict[str, Any], progress: Progress
) -> Standing:
    plan, epochs = recipe.optimisation, asked["epochs"]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    each = math.ceil(len(puzzles) / plan.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * each)
    standing = Standing(out, asked, {"model": model, "optimiser": optimiser, "schedule": schedule})
    for line in standing.go_on():
        progress.print(line)
    model.train()
    model.detector.backbone.eval()
    for epoch in range(standing.epochs, epochs):
        started = time.monotonic()
        for step, batch in enumerate(_batches(puzzles, plan.batch, epoch), 1 + epoch * each):
            loss = model(batch)
            optimiser.zero_grad()
            loss.backward()
            require_finite(nn.utils.clip_grad_norm_(trained, plan.clip), f"pre-training, step {step}")
            optimiser.step()
            schedule.step()
            progress(step, epochs * each, f"loss {loss.item():.3f}")
        standing.seconds += time.monotonic() - started
        standing.save(epoch + 1, standing.seconds)
    return standing


def _batches(puzzles: Puzzles, batch: int, epoch: int) -> DataLoader[Any]:
    """Lists of puzzles."""
    puzzles.epoch = epoch
    order = torch.Generator().manual_seed(puzzles.seed + epoch)
    return DataLoader(puzzles, batch, shuffle=True, generator=order, collate_fn=list)

"""unittest classes made of transformers' own mixins and our model, configuration and image processor.

`cases(folder)` imports the mixins from the files in `folder`. What these import of the library's repository, and its
source distribution lacks, is stood in for by empty modules; none of it is used by a test that applies.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import TestCase

import torch

from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from tests.modeling.tiny import SMALL, padded_batch, picture, small_config

PACKAGE = "transformers_tests"
IMPORTED = ("test_modeling_common.py", "test_configuration_common.py", "test_image_processing_common.py")
COMMON_OPTIONS: dict[str, Any] = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "architectures": ["SmcaForObjectDetection"],
    "id2label": {0: "cat", 1: "dog"},
    "label2id": {"cat": 0, "dog": 1},
}
STAND_INS: dict[str, dict[str, Any]] = {
    f"{PACKAGE}.exporters": {},
    f"{PACKAGE}.exporters.test_export": {"ExportTesterMixin": object},
    f"{PACKAGE}.generation": {},
    f"{PACKAGE}.generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    f"{PACKAGE}.utils": {},
    f"{PACKAGE}.utils.test_configuration_utils": {"config_common_kwargs": COMMON_OPTIONS},
    "fetch_hub_objects_for_ci": {"url_to_local_path": str},
}
MULTI_SCALE: dict[str, Any] = {"levels": ("c4", "c5"), "backbone_norm": "frozen"}
DETR: dict[str, Any] = {
    "levels": ("c5",),
    "modulation": "none",
    "box_prior": False,
    "class_loss": "softmax",
    "pre_norm": True,
    "backbone_norm": "batch",
}


def cases(folder: Path) -> dict[str, type[TestCase]]:
    """The test classes by name."""
    _open(folder)
    return {
        "model, multi-scale": _model_case(MULTI_SCALE, cells=6 * 8 + 3 * 4),
        "model, single-scale DETR": _model_case(DETR, cells=3 * 4),
        "configuration": _configuration_case(),
        "image processor": _image_processor_case(),
    }


def _open(folder: Path) -> None:
    """Make the files of `folder` a package, and the stand-ins modules."""
    (folder / "__init__.py").touch()
    for name, content in {PACKAGE: {}, **STAND_INS}.items():
        module = ModuleType(name)
        module.__path__ = [str(folder)] if name == PACKAGE else []
        vars(module).update(content)
        sys.modules[name] = module


class ModelTester:
    """What the library asks its testers: a small model, a batch of pictures and the sizes of both."""

    is_training = True
    batch_size = 2
    hidden_size: int = SMALL["d_model"]
    num_hidden_layers: int = SMALL["decoder_layers"]
    num_attention_heads: int = SMALL["num_heads"]
    decoder_seq_length: int = SMALL["num_queries"]

    def __init__(self, switches: dict[str, Any], cells: int) -> None:
        self.switches = switches
        self.encoder_seq_length = cells

    def prepare_config_and_inputs_for_common(self) -> tuple[SmcaConfig, dict[str, Any]]:
        """A configuration, and a batch of which the second picture is padded."""
        pixels, mask = padded_batch([picture(96, 128, seed=1), picture(70, 101, seed=2)])
        return small_config(**self.switches), {"pixel_values": pixels, "pixel_mask": mask}

    @staticmethod
    def labels() -> list[dict[str, torch.Tensor]]:
        boxes = torch.tensor([[0.4, 0.5, 0.3, 0.2], [0.6, 0.3, 0.2, 0.5]])
        return [{"class_labels": torch.tensor([0, 2]), "boxes": boxes}] * 2


def _model_case(switches: dict[str, Any], cells: int) -> type[TestCase]:
    mixin: Any = importlib.import_module(f"{PACKAGE}.test_modeling_common").ModelTesterMixin

    class ModelCase(mixin, TestCase):
        all_model_classes = (SmcaForObjectDetection,)
        is_encoder_decoder = True
        test_can_init_all_missing_weights_before_2023 = True

        def setUp(self) -> None:
            self.model_tester = ModelTester(switches, cells)

        def _prepare_for_class(self, inputs: Any, model_class: Any, return_labels: bool = False) -> dict[str, Any]:
            """A copy with labels if asked for, and without the token ids that every decoder is thought to take."""
            prepared = super()._prepare_for_class(inputs, model_class, return_labels)
            if return_labels:
                prepared["labels"] = self.model_tester.labels()
            return {name: value for name, value in prepared.items() if not name.startswith("decoder_")}

    return ModelCase


def _configuration_case() -> type[TestCase]:
    tester: Any = importlib.import_module(f"{PACKAGE}.test_configuration_common").ConfigTester

    def tests() -> Iterator[tuple[str, Any]]:
        for name in dir(tester):
            if name.startswith(("create_and_test_", "check_")):
                short = name.removeprefix("create_and_test_")
                yield (
                    f"test_{short}",
                    lambda case, name=name: getattr(
                        tester(case, config_class=SmcaConfig, has_text_modality=False, num_queries=7, spread="single"),
                        name,
                    )(),
                )

    return type("ConfigurationCase", (TestCase,), dict(tests()))


def _image_processor_case() -> type[TestCase]:
    common: Any = importlib.import_module(f"{PACKAGE}.test_image_processing_common")

    class ImageProcessorTester(common.ImageProcessingTester):
        def __init__(self, parent: TestCase) -> None:
            size = {"shortest_edge": 18, "longest_edge": 133}
            super().__init__(parent, size=size, image_mean=[0.4] * 3, image_std=[0.3] * 3, class_loss="softmax")

        def _get_image_processing_classes(self) -> dict[str, type[SmcaImageProcessor]]:
            return {"torchvision": SmcaImageProcessor}

    class ImageProcessorCase(common.ImageProcessingTestMixin, TestCase):
        image_processor_tester_class = ImageProcessorTester
        test_cast_dtype = True

    return ImageProcessorCase

"""Weights of a backbone from files and from ImageNet, of a model from another, and parts that stay as they are."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from smca.errors import ConfigurationError, ModelError, WeightsError
from smca.modeling.backbone import Backbone
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training import weights
from smca.training.weights import freeze, load_backbone, start_from
from tests.modeling.tiny import SMALL

LITE = "timm/tf_efficientnet_lite0"
SCHOOL_BUS = 779


def small_model(names: tuple[str, ...], **switches: Any) -> SmcaForObjectDetection:
    values: dict[str, Any] = {key: value for key, value in SMALL.items() if key != "num_labels"}
    values |= {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return SmcaForObjectDetection(SmcaConfig(**(values | switches)))


def saved(model: SmcaForObjectDetection, folder: Path) -> str:
    model.save_pretrained(folder)
    SmcaImageProcessor().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def plain() -> Backbone:
    return Backbone(SmcaConfig(**SMALL))


@pytest.fixture(scope="module")
def lite(shared: Path) -> Path:
    return shared / "weights" / "efficientnet_lite0" / "model.safetensors"


def classifier(body: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """timm's whole network: its stages as the detector's backbone has them, its head from the file."""
    network = timm.create_model("tf_efficientnet_lite0")
    state = {key: value for key, value in body.state_dict().items() if not key.endswith("num_batches_tracked")}
    for member in ("weight", "bias", "running_mean", "running_var"):
        state[f"bn2.{member}"] = tensors[f"_bn1.{member}"]
    state |= {"conv_head.weight": tensors["_conv_head.weight"]}
    state |= {f"classifier.{member}": tensors[f"_fc.{member}"] for member in ("weight", "bias")}
    found = network.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)
    return network.eval()


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_efficientnet_lite0_sees_a_school_bus(norm: Literal["batch", "frozen"], lite: Path, shared: Path) -> None:
    backbone = Backbone(SmcaConfig(backbone=LITE, backbone_norm=norm))
    assert "tensors from" in load_backbone(backbone, LITE, str(lite))
    photo = pil_to_tensor(Image.open(shared / "data" / "photos" / "school_bus.jpg").convert("RGB"))
    pixels = (center_crop(resize(photo, [256], antialias=True), [224, 224]).float() - 127) / 128
    with torch.no_grad():
        scores = classifier(backbone.body, load_file(lite))(pixels[None]).softmax(1)[0]
    assert scores.argmax() == SCHOOL_BUS
    assert scores[SCHOOL_BUS] > 0.9


def test_efficientnet_lite0_fits_no_other_network(lite: Path, plain: Backbone) -> None:
    other = Backbone(SmcaConfig(backbone="timm/resnet18d", backbone_norm="batch"))
    for backbone, name in ((other, "timm/resnet18d"), (plain, "plain")):
        with pytest.raises(WeightsError, match=f"does not fit backbone '{name}'"):
            load_backbone(backbone, name, str(lite))


def test_no_weights_leave_the_backbone_alone(plain: Backbone) -> None:
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    assert load_backbone(plain, "plain", "none") == "backbone: random weights"
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_file_of_the_same_network_is_taken_whole(ending: str, plain: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(1)
    tensors = {key: torch.rand_like(value) for key, value in plain.body.state_dict().items()}
    file = tmp_path / f"backbone.{ending}"
    extra = {**tensors, "fc.weight": torch.zeros(3, 3)}
    if ending == "pth":
        torch.save({**extra, "epoch": 3}, file)
    else:
        save_file(extra, file)
    load_backbone(plain, "plain", str(file))
    assert all(torch.equal(value, tensors[key]) for key, value in plain.body.state_dict().items())


class Anything:
    """Not a tensor: a pickle that runs code when read."""


@pytest.mark.parametrize(
    "kind", ["absent", "text", "folder", "list", "tensor", "object", "shape", "missing", "numbers"]
)
def test_a_wrong_file_is_one_line_and_changes_nothing(kind: str, plain: Backbone, tmp_path: Path) -> None:
    file = tmp_path / ("x.safetensors" if kind in ("text", "folder") else "x.pth")
    state = {key: torch.ones_like(value) for key, value in plain.body.state_dict().items()}
    first = next(iter(state))
    if kind == "text":
        file.write_text("not tensors")
    elif kind == "folder":
        file.mkdir()
    elif kind != "absent":
        content = {
            "list": [1, 2],
            "tensor": torch.zeros(3),
            "object": Anything(),
            "shape": {**state, first: torch.zeros(1)},
            "missing": {key: value for key, value in state.items() if key != first},
            "numbers": {1: torch.zeros(3)},
        }
        torch.save(content[kind], file)
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    with pytest.raises(WeightsError, match=r"--backbone-weights none .* PATH") as caught:
        load_backbone(plain, "plain", str(file))
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18d", "plain"])
def test_imagenet_weights_that_cannot_be_had(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def unknown(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = Backbone(SmcaConfig(**(SMALL | {"backbone": name, "backbone_norm": "frozen"})))
    offline = huggingface_hub.is_offline_mode()
    with pytest.raises(WeightsError, match=r"--backbone-weights none .* PATH") as caught:
        load_backbone(backbone, name, "imagenet")
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert len(asked) <= 1
    assert (huggingface_hub.is_offline_mode(), socket.getdefaulttimeout()) == (offline, None)


@pytest.mark.parametrize("name", ["resnet18d", "convnext_atto"])
def test_imagenet_weights_of_timm_have_the_names_of_the_backbone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    fetched = {**create(name, features_only=True).state_dict()}

    def without_network(model: str, pretrained: bool = False, **options: Any) -> nn.Module:
        network = create(model, **options)
        if pretrained:
            network.load_state_dict(fetched)
        return network

    monkeypatch.setattr(timm, "create_model", without_network)
    monkeypatch.setattr(weights, "_reachable", lambda _: True)
    backbone = Backbone(SmcaConfig(backbone=f"timm/{name}", backbone_norm="batch"))
    load_backbone(backbone, f"timm/{name}", "imagenet")
    assert all(torch.equal(value, fetched[key]) for key, value in backbone.body.state_dict().items())


def test_a_start_keeps_what_fits_and_class_rows_by_name(tmp_path: Path) -> None:
    torch.manual_seed(1)
    old = small_model(("cat", "dog", "cow"))
    nn.init.normal_(old.class_head.weight)
    nn.init.normal_(old.class_head.bias)
    model = small_model(("cow", "horse", "cat", "duck"))
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    lines = start_from(model, saved(old, tmp_path / "old"))
    for mine, theirs in ((0, 2), (2, 0)):
        assert torch.equal(model.class_head.weight[mine], old.class_head.weight[theirs])
        assert torch.equal(model.class_head.bias[mine], old.class_head.bias[theirs])
    for new in (1, 3):
        assert torch.equal(model.class_head.weight[new], fresh["class_head.weight"][new])
    rest = {key: value for key, value in old.state_dict().items() if not key.startswith("class_head")}
    assert all(torch.equal(model.state_dict()[key], value) for key, value in rest.items())
    assert lines[1:] == ["classes kept: cow, cat", "classes new: horse, duck"]


def test_a_start_with_the_same_number_of_other_classes_keeps_no_foreign_row(tmp_path: Path) -> None:
    old, model = small_model(("cat", "dog")), small_model(("dog", "bus"))
    nn.init.constant_(old.class_head.weight, 7.0)
    start_from(model, saved(old, tmp_path / "old"))
    assert (model.class_head.weight[0] == 7).all()
    assert not (model.class_head.weight[1] == 7).any()


@pytest.mark.parametrize(("before", "now"), [(1, 3), (3, 1)])
def test_a_start_with_another_number_of_query_groups_keeps_those_that_predict(
    before: int, now: int, tmp_path: Path
) -> None:
    old, model = (small_model(("cat",), query_groups=groups) for groups in (before, now))
    lines = start_from(model, saved(old, tmp_path / "old"))
    count = old.config.num_queries
    kept, fresh = (one.decoder.query_position.weight for one in (old, model))
    assert torch.equal(kept[:count], fresh[:count])
    assert lines[-1] == f"queries kept: {count} of {now * count}"


def test_a_start_from_another_width_keeps_the_backbone_and_says_what_is_new(tmp_path: Path) -> None:
    old, model = small_model(("cat", "dog")), small_model(("cat", "dog"), d_model=32)
    lines = start_from(model, saved(old, tmp_path / "old"))
    body = old.backbone.state_dict()
    assert all(torch.equal(value, body[key]) for key, value in model.backbone.state_dict().items())
    assert lines[1:3] == ["classes kept: none", "classes new: cat, dog"]
    assert lines[3].startswith("new tensors: ")


def test_a_start_from_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        start_from(small_model(("cat",)), str(tmp_path / "nowhere"))


def test_freezing_stops_a_part_and_nothing_else() -> None:
    model = small_model(("cat",))
    freeze(model, ("backbone", "decoder.layers.0", "class_head.bias"))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    expected = [
        name
        for name, _ in model.named_parameters()
        if name.startswith(("backbone.", "decoder.layers.0.")) or name == "class_head.bias"
    ]
    assert frozen == set(expected)


@pytest.mark.parametrize("part", ["backbones", "back", "decoder.layers.9", "", "class_head.weights"])
def test_an_unknown_part_is_refused_and_the_parts_named(part: str) -> None:
    with pytest.raises((WeightsError, ConfigurationError), match="backbone, box_head, class_head") as caught:
        freeze(small_model(("cat",)), (part,))
    assert "\n" not in str(caught.value)

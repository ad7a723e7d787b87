"""Faster R-CNN with a feature pyramid (Ren et al., 2015; Lin et al., 2017): proposals, then a head on each. Source:
torchvision, on P3 to P7 where the published one has P2 to P6 (our backbones begin at C3): fewer multiply-adds, and
small objects harder. Non-maximum suppression.
"""

from __future__ import annotations

from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from smca.comparison.peers.backbone import Pyramid
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.torchvision_peer import LOWEST_SCORE, MOST, TorchvisionPeer

RATIOS = (0.5, 1.0, 2.0)
CELLS = 7
CANONICAL = 224.0  # pixels: the object that P4 is for, with anchors of four strides
PUBLISHED_SCALE = 4.0


def anchors_of(config: PeerConfig, strides: tuple[int, ...], octaves: tuple[float, ...] = (1.0,)) -> AnchorGenerator:
    """Square and oblong anchors of `anchor_scale` strides, times each of `octaves`."""
    sizes = tuple(tuple(round(config.anchor_scale * stride * octave) for octave in octaves) for stride in strides)
    return AnchorGenerator(sizes, (RATIOS,) * len(sizes))


def regions_of(config: PeerConfig) -> MultiScaleRoIAlign:
    """7x7 cells of the level that suits a box."""
    canonical = CANONICAL * config.anchor_scale / PUBLISHED_SCALE
    return MultiScaleRoIAlign(["p3", "p4", "p5"], CELLS, sampling_ratio=2, canonical_scale=round(canonical))


class FasterRcnn(TorchvisionPeer):
    """Head of two linear layers, four times as wide as the pyramid."""

    def __init__(self, config: PeerConfig) -> None:
        pyramid = Pyramid(config)
        width = 4 * config.pyramid_channels
        network = FasterRCNN(
            pyramid,
            rpn_anchor_generator=anchors_of(config, pyramid.strides),
            box_roi_pool=regions_of(config),
            box_head=TwoMLPHead(config.pyramid_channels * CELLS**2, width),
            box_predictor=FastRCNNPredictor(width, config.class_outputs + 1),
            box_score_thresh=LOWEST_SCORE,
            box_detections_per_img=MOST,
        )
        super().__init__(config, network, first_class=1)

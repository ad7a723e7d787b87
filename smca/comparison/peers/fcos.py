"""FCOS (Tian et al., ICCV 2019): every cell of a pyramid says what it is and how far its sides are. Source:
torchvision, P3 to P7, with non-maximum suppression.
"""

from __future__ import annotations

from torchvision.models.detection import FCOS

from smca.comparison.peers.backbone import Pyramid
from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.torchvision_peer import LOWEST_SCORE, MOST, TorchvisionPeer


class Fcos(TorchvisionPeer):
    """Towers of four convolutions with group norm; published score threshold .2 replaced."""

    def __init__(self, config: PeerConfig) -> None:
        pyramid = Pyramid(config)
        network = FCOS(pyramid, config.class_outputs, score_thresh=LOWEST_SCORE, detections_per_img=MOST)
        super().__init__(config, network, first_class=0)

"""Makes transformers' Auto classes and its object-detection pipeline know the model type "smca-peer"."""

from __future__ import annotations

from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

from smca.comparison.peers.configuration import PeerConfig
from smca.comparison.peers.model import PeerForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor

AutoConfig.register(PeerConfig.model_type, PeerConfig)
AutoModelForObjectDetection.register(PeerConfig, PeerForObjectDetection)
AutoImageProcessor.register(PeerConfig, image_processor_classes={"torchvision": SmcaImageProcessor})
MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES[PeerConfig.model_type] = PeerForObjectDetection.__name__

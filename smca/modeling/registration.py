"""Makes transformers' Auto classes and its object-detection pipeline know the model type "smca".

The pipeline's own list of names is extended too: without it every call logs a long and false error. And the pipeline
is ours, which knows a model's own threshold (pipeline.py).
"""

from __future__ import annotations

from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
from transformers.pipelines import PIPELINE_REGISTRY

from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.pipeline import DetectionPipeline

AutoConfig.register(SmcaConfig.model_type, SmcaConfig)
AutoModelForObjectDetection.register(SmcaConfig, SmcaForObjectDetection)
AutoImageProcessor.register(SmcaConfig, image_processor_classes={"torchvision": SmcaImageProcessor})
MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES[SmcaConfig.model_type] = SmcaForObjectDetection.__name__
PIPELINE_REGISTRY.supported_tasks["object-detection"]["impl"] = DetectionPipeline

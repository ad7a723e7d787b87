"""Arithmetic that suits the machine.

On a GPU "bf16" is the Trainer's autocast over the whole model. On a CPU it is the backbone alone, in training alone:
convolutions gain by it where the processor has bfloat16 instructions, small transformers lose; elsewhere it is
float32. "fp16" is the Trainer's autocast over the whole model and its scaler of gradients, on a CPU too if that
multiplies float16. Scores, weight maps, costs and losses of training are float32 everywhere; what autocast covers is
evaluated with it.
"""

from __future__ import annotations

import torch
from transformers import TrainingArguments

from smca.modeling.precision import cpu_has_bfloat16
from smca.training.detector import Detector


def prepare_for_speed(model: Detector, arguments: TrainingArguments, bf16: bool = False, compile: bool = False) -> None:
    """Channels-last convolutions, bfloat16 ones on a CPU that has them and a recipe that wants them, compiled code.

    Evaluation between epochs has its norms folded, as it has once the model is loaded.
    """
    model.backbone.to(memory_format=torch.channels_last)
    model.backbone.fold_norms()
    model.backbone.bf16 = bf16 and arguments.use_cpu and cpu_has_bfloat16()
    if compile:
        model.compile_for_any_size()

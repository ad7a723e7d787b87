"""What of transformers' tests does not apply to SMCA, each with its reason: the only place that says so.

`*` stands for anything, as in file names. `problems` holds the lists to what was found: no entry may be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

Outcomes = dict[str, dict[str, tuple[str, str]]]

MADE_FOR = "5.24"  # the transformers whose tests the lists speak of

IMAGES_ONLY = "the model reads pictures: it has no token embeddings"
NO_LANGUAGE = "for language models: tokens that are generated, cached, shifted or placed by rotation"
ONE_PART = "one configuration and no models inside the model"
NO_EXPERTS = "no mixture of experts"
NO_HOOKS = "forward returns states and attentions itself; no hooks capture them"
SAME_NAMES = "weights are saved under the names they have in the model; there is nothing to convert"
ONE_BACKEND = "there is one image processor, torchvision's"

TESTS = {
    "test_attn_implementation_composite_models": ONE_PART,
    "test_backends_equivalence*": ONE_BACKEND,
    "test_bc_cache_name_forward": NO_LANGUAGE,
    "test_can_capture_specific_layers_hidden_states": NO_HOOKS,
    "test_can_init_all_missing_weights": "it draws each module's values from one seed; ours are drawn in one pass, and "
    "the backbone's are its library's (tests/modeling/test_initialization.py tests what a file lacks)",
    "test_can_load_from_already_mapped_keys": SAME_NAMES,
    "test_can_set_attention_dynamically_composite_model": ONE_PART,
    "test_capture_outputs_decorator": NO_HOOKS,
    "test_causal_lm_loss_honors_shift_labels": NO_LANGUAGE,
    "test_eager_matches_batched_and_grouped_inference_*": NO_EXPERTS,
    "test_enable_input_require_grads_with_gradient_checkpointing": IMAGES_ONLY,
    "test_encoder_decoder_loss_no_double_shift": NO_LANGUAGE,
    "test_image_processor_preprocess_arguments": "for processors that list the arguments of `preprocess` twice",
    "test_inputs_embeds": IMAGES_ONLY,
    "test_internal_model_config_and_subconfig_are_same": ONE_PART,
    "test_model_get_set_embeddings": IMAGES_ONLY,
    "test_model_rope_*": NO_LANGUAGE,
    "test_moe_models_record_router_logits": NO_EXPERTS,
    "test_output_router_logits_from_config": NO_EXPERTS,
    "test_override_instance_attributes_does_not_affect_other_instances": "it waits for a `size` that is a plain dict; "
    "transformers' own base class makes it a SizeDict",
    "test_resize_position_vector_embeddings": "positions are computed; there is no table to resize",
    "test_resize_tokens_embeddings": IMAGES_ONLY,
    "test_retain_grad_hidden_states_attentions": "it wants the gradient of what enters the decoder: zeros, which have "
    "none (transformers' own DETR leaves that out)",
    "test_reverse_loading_mapping": SAME_NAMES,
    "test_save_load_backends*": ONE_BACKEND,
    "test_sdpa_can_dispatch_composite_models": ONE_PART,
    "test_sliding_window_mask": NO_LANGUAGE,
    "test_torch_save_load": "there is no model without heads for AutoModel",
    "test_tp_plan_matches_params": "no plan for tensor parallelism: the model fits on one device",
    "test_training_gradient_checkpointing_use_reentrant_true": "refused with a ConfigurationError: the reentrant kind "
    "follows no tensors inside Tokens and Reference and would lose gradients",
    "test_vision_axial_rope": NO_LANGUAGE,
}

FILES = {
    "test_backbone_common.py": "for transformers' Backbone classes",
    "test_decision_head_common.py": NO_LANGUAGE,
    "test_executorch.py": NO_LANGUAGE,
    "test_expert_parallel_mixin.py": NO_EXPERTS,
    "test_feature_extraction_common.py": "for sound",
    "test_fsdp_mixin.py": "it trains on token ids",
    "test_image_transforms.py": "it tests functions of transformers, none of ours",
    "test_memory_cleanup_mixin.py": "it frees memory between tests and has none itself",
    "test_monkey_patching.py": "it tests functions of transformers, none of ours",
    "test_pipeline_mixin.py": "its pipeline tests and their tiny models are not in the source distribution "
    "(tests/test_public.py tests the pipeline)",
    "test_processing_common.py": "for processors that join text with something else",
    "test_sentencepiece_backend_mixin.py": NO_LANGUAGE,
    "test_sequence_feature_extraction_common.py": "for sound",
    "test_tensor_parallel_mixin.py": TESTS["test_tp_plan_matches_params"],
    "test_tokenization_common.py": NO_LANGUAGE,
    "test_tokenization_mistral_common.py": NO_LANGUAGE,
    "test_tokenizers_backend_mixin.py": NO_LANGUAGE,
    "test_training_mixin.py": "it trains on token ids (pictures are 'not supported yet')",
    "test_video_processing_common.py": "for films",
}

# Reasons of the library that speak of the machine, not of the model.
OF_THE_MACHINE = ("test requires *", "test is slow")


def problems(outcomes: Outcomes, tests: dict[str, str]) -> list[str]:
    """What contradicts the list: tests that fail or do not apply and are not on it, entries that are not true."""
    found = [(case, name, *outcome) for case, names in outcomes.items() for name, outcome in names.items()]
    wrong = [
        f"{case}: {name} {outcome}: {why}"
        for case, name, outcome, why in found
        if outcome != "passed" and not _any(name, tests) and not (outcome == "skipped" and _any(why, OF_THE_MACHINE))
    ]
    for pattern in tests:
        listed = [(case, name, outcome) for case, name, outcome, _ in found if fnmatchcase(name, pattern)]
        wrong += [f"{case}: {name} is listed and passes" for case, name, outcome in listed if outcome == "passed"]
        if not listed:
            wrong.append(f"{pattern} is listed and does not exist")
    return wrong


def _any(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)

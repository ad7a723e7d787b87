"""The paper and nothing else: one room per component, equations E1 to E9 (see docs/equations.md).

Importing this package makes `AutoConfig`, `AutoModelForObjectDetection`, `AutoImageProcessor` and
`pipeline("object-detection")` of transformers know the model type "smca".
"""

from smca.modeling import registration

__all__ = ["registration"]

"""Parameters and multiply-adds of every system at R50 beside the paper's table -> docs/results/peers.md.

    python benchmarks/peer_sizes.py

Minutes on a CPU: the peers are counted while they look at an image of 800x1066.
"""

from __future__ import annotations

from pathlib import Path

from smca.files import write_atomically
from smca.machine import machine
from smca.sizes import ImageSize
from smca.training.info import describe
from smca.training.recipes.contestants import CONTESTANTS

PAGE = Path(__file__).parents[1] / "docs" / "results" / "peers.md"
PAPER = {  # GFLOPs and millions of parameters
    "smca": (152, 40),
    "smca-single-scale": (86, 42),
    "detr": (86, 41),
    "detr-dc5": (187, 41),
    "up-detr": (86, 41),
    "deformable-detr": (173, 40),
    "deformable-detr-single-scale": (78, 34),
    "faster-rcnn": (180, 42),
    "tsp-fcos": (189, None),
    "tsp-rcnn": (188, None),
}
WHY = {
    "smca": "its authors' counter; see `smca info` for each part",
    "detr": "sizes of COCO's images differ from 800x1066",
    "up-detr": "300 queries, as all in a comparison",
    "detr-dc5": "sizes of COCO's images differ from 800x1066",
    "deformable-detr": "sampling is not counted",
    "faster-rcnn": "no P2: our backbones begin at C3; P2's pyramid and proposal convolutions are 63 of the 180",
    "tsp-fcos": "sizes of COCO's images differ from 800x1066",
    "tsp-rcnn": "no P2, as Faster R-CNN",
}


def main() -> None:
    """Count and write."""
    lines = [
        "# Sizes of the compared systems",
        "",
        f"Written by `python benchmarks/peer_sizes.py`; {machine()['date']}. R50, one image of 800x1066, 91 classes.",
        "",
        "| recipe | M parameters, trained | all | GMACs | paper: GFLOPs | M parameters | why they differ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CONTESTANTS:
        numbers = describe(f"{name}-r50", ImageSize(height=800, width=1066))
        trained, total = (numbers[f"parameters_{kind}"] / 1e6 for kind in ("trainable", "total"))
        flops, millions = PAPER.get(name, (None, None))
        counted = f"{trained:.2f} | {total:.2f} | {numbers['gmacs']:.1f}"
        lines.append(f"| `{name}-r50` | {counted} | {flops or '-'} | {millions or '-'} | {WHY.get(name, '')} |")
        print(lines[-1], flush=True)
    write_atomically(PAGE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

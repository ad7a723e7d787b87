"""Everything worth knowing about SMCA on one GPU, in under ten minutes:

    python benchmarks/gpu [--out docs/results/gpu]

Needs a CUDA device with 40 GB, torch 2.11 to 2.15, torchvision, timm, transformers, scipy; no network, no data. Prints
as it goes and writes speed.json after every part, so that what was measured before a limit is there; page.py makes a
page of it. Parts:

correctness   the folded and the biased form in float32 and bfloat16 against float64 E5, outputs and gradients
kernels       which attention kernels ran
attention     `smca bench`'s co-attention table, loss table, by CUDA events
training      full R50 single- and multi-scale at 800x1333, bf16: images/s, memory, share of peak, compiled and not
busy          how long the device works in such a step, and in which kernels most
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from smca.benchmark import attention, losses
from smca.benchmark.models import R50, learning, ours
from smca.benchmark.timing import device_clock
from smca.machine import machine
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.weight_maps import WeightMap
from smca.sizes import ImageSize
from smca.training.info import describe

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16 operations a second, by their maker
IMAGE = ImageSize(height=800, width=1333)
RECIPES = {"single-scale": "smca-r50-single-scale", "multi-scale": "smca-r50"}
BATCHES = {"single-scale": 8, "multi-scale": 4}


def correctness() -> list[dict[str, Any]]:
    """Largest error of outputs, relative error of gradients, against float64."""
    found = []
    for size in (attention.C5, attention.C4):
        for dtype in (torch.float32, torch.bfloat16):
            case = attention.Attention(attention.Shape(size, dtype=dtype), "cuda")
            found += [{"form": form, "shape": str(case.shape), **_errors(case, form)} for form in ("folded", "masked")]
    return found


def _errors(case: attention.Attention, form: str) -> dict[str, Any]:
    leaves = [case.query, case.key, case.value, case.centre, case.precision]
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    output = getattr(case, form)(*leaves)
    wanted = _exact(case, exact)
    slopes = zip(
        torch.autograd.grad(output, leaves, case.upstream),
        torch.autograd.grad(wanted, exact, case.upstream.double()),
        strict=True,
    )
    relative = [((a.double() - b).norm() / b.norm()).item() for a, b in slopes]
    return {"error": (output.double() - wanted).abs().max().item(), "gradients q k v centre A": relative}


def _exact(case: attention.Attention, leaves: list[torch.Tensor]) -> torch.Tensor:
    query, key, value, centre, precision = leaves
    grid = type(case.grid)(case.grid.x.double(), case.grid.y.double())
    bias = attention.log_weight_map(WeightMap(centre, precision), grid).flatten(-2).transpose(1, 2)
    return attention.explicit_attention(query, key, value, bias, None, 0.0)[0]


def kernels() -> dict[str, list[str]]:
    """Names of the kernels behind the folded form, by type."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        work = attention.Attention(attention.Shape(attention.C4, dtype=dtype), "cuda").training("folded")
        work()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            work()
            torch.cuda.synchronize()
        names = {event.key for event in seen.key_averages()}
        wanted = ("flash", "fmha", "attention", "sdpa", "cudnn")
        found[str(dtype)] = sorted(name for name in names if any(part in name.lower() for part in wanted))
    return found


def training(kind: str, compiled: bool, seconds: float) -> dict[str, Any]:
    """A step of full R50 in bf16 autocast, repeated for `seconds`."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = ours(R50, multi=kind == "multi-scale").cuda()
    if compiled:
        model.compile_for_any_size()
    batch = BATCHES[kind]
    work = learning(model, torch.randn(batch, 3, *IMAGE, device="cuda"))
    start = time.perf_counter()
    step = _in_bf16(work)
    step()
    step()
    torch.cuda.synchronize()
    first = time.perf_counter() - start
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < seconds:
        taken.append(device_clock(step))
    median = sorted(taken)[len(taken) // 2]
    peak = next((rate for name, rate in PEAK.items() if name in torch.cuda.get_device_name()), None)
    rate = 3 * 2 * describe(RECIPES[kind], IMAGE)["gmacs"] * 1e9 * batch / median
    return {
        "kind": kind,
        "compiled": compiled,
        "batch": batch,
        "first two steps, s": first,
        "step, ms": 1000 * median,
        "images/s": batch / median,
        "peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30,
        "share of peak": None if peak is None else rate / peak,
    }


def busy(steps: int = 3) -> dict[str, Any]:
    """Milliseconds of a single-scale step of R50, of the device's work in it, and of its twenty longest kernels."""
    model = ours(R50, multi=False).cuda()
    step = _in_bf16(learning(model, torch.randn(BATCHES["single-scale"], 3, *IMAGE, device="cuda")))
    device_clock(lambda: [step() for _ in range(steps)])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        wall = device_clock(lambda: [step() for _ in range(steps)])
    kernels = {one.key: one.self_device_time_total / 1000 / steps for one in seen.key_averages()}
    longest = sorted(kernels, key=lambda name: -kernels[name])[:20]
    return {
        "step, ms": 1000 * wall / steps,
        "device busy, ms": sum(kernels.values()),
        "longest": {name[:100]: kernels[name] for name in longest},
    }


def _in_bf16(work: Callable[[], object]) -> Callable[[], object]:
    def step() -> object:
        with torch.autocast("cuda", torch.bfloat16):
            return work()

    return step


def bf16_inference() -> dict[str, float]:
    """Single-scale R50 as loaded for inference: ms an image at 800x1333 in float32 and bfloat16."""
    found = {}
    pixels = torch.randn(1, 3, *IMAGE, device="cuda")
    for dtype in (None, torch.bfloat16):
        model: SmcaForObjectDetection = ours(R50, multi=False).cuda().eval()
        model.prepare_for_inference(dtype)
        with torch.no_grad():
            times = [device_clock(lambda model=model: model(pixels)) for _ in range(20)]
        found[str(dtype or torch.float32)] = 1000 * sorted(times)[10]
    return found


def main() -> None:
    """Run all parts, cheapest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/gpu"))
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu needs a CUDA device, and there is none")
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.utils._sympy.interp").setLevel(logging.ERROR)  # hundreds of lines a compilation
    results: dict[str, Any] = machine()
    parts: dict[str, Callable[[], Any]] = {
        "correctness": correctness,
        "kernels": kernels,
        "loss": lambda: [one.to_dict() for one in losses.ratios(20, device_clock, "cuda")],
        "attention": lambda: [one.to_dict() for one in attention.ratios(30, device_clock, "cuda")],
        "inference, ms": bf16_inference,
        "busy": busy,
        **{
            f"training, {kind}{', compiled' * compiled}": lambda kind=kind, compiled=compiled: training(
                kind, compiled, 10
            )
            for compiled in (False, True)
            for kind in BATCHES
        },
    }
    for name, part in parts.items():
        start = time.perf_counter()
        try:
            results[name] = part()
        except Exception as error:  # noqa: BLE001 - what one part meets must not cost the others
            results[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(f"{name} ({time.perf_counter() - start:.0f} s): {json.dumps(results[name])[:1500]}", flush=True)
        (out / "speed.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

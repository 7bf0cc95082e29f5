"""What this machine's processor is fast at."""

from __future__ import annotations

from functools import cache

__all__ = ["fast_bfloat16"]


@cache
def fast_bfloat16() -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 on this CPU.

    They are with AMX or AVX512-BF16 instructions, through oneDNN. Elsewhere torch converts or emulates, which
    is slower; Arm's bfloat16 instructions do not count, because whether torch uses them depends on its build.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    # Private in every version of torch so far; one that has not got them is not asked.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)

"""The targets that kernels are assembled for, and the devices that the generated tables speak of."""

from dataclasses import dataclass

KIB = 1024

# Targets of the PTX of each folder below kernels/cuda/ptx.
TARGETS = {"": ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"], "sm90": ["sm_90a"]}

# The most shared memory that a block may have on a target. CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability".
BLOCK_SHARED = {
    "sm_80": 163 * KIB,
    "sm_86": 99 * KIB,
    "sm_89": 99 * KIB,
    "sm_90": 227 * KIB,
    "sm_90a": 227 * KIB,
    "sm_100": 227 * KIB,
    "sm_120": 99 * KIB,
}

# The same on all of the targets: 32-bit registers of a multiprocessor (the same table), which are given to a warp in
# steps of 256; warps are spread over four schedulers; shared memory is given in steps of 128 bytes, and 1 KiB a block
# is the system's own (CUDA occupancy calculator; Ampere Tuning Guide, "Unified Shared Memory/L1/Texture Cache").
REGISTERS = 65_536
REGISTER_STEP = 256
SCHEDULERS = 4
SHARED_STEP = 128
RESERVED_SHARED = 1 * KIB
WARP = 32


@dataclass(frozen=True)
class Device:
    name: str
    # The target of the PTX for every card, and of that for the device's compute capability alone.
    target: str
    own_target: str | None
    # Of a multiprocessor, by the Programming Guide's table: bytes of shared memory, warps, blocks.
    shared: int
    warps: int
    blocks: int
    # Bytes/s of the memory, and operations/s (a multiply-add is two): f16 products with f32 sums on tensor cores
    # without sparsity, f32, and 32-bit integers. The last by the Programming Guide's "Throughput of Native Arithmetic
    # Instructions": a multiprocessor multiplies 64 integers a cycle, and 64 (sm_80) or 128 floats.
    bandwidth: float
    rates: dict[str, float]


DEVICES = [
    # 108 multiprocessors. NVIDIA A100 data sheet (2022), A100 80GB SXM.
    Device("A100", "sm_80", None, 164 * KIB, 64, 32, 2039e9, {"tensor": 312e12, "f32": 19.5e12, "integer": 19.5e12}),
    # 132 multiprocessors. NVIDIA H100 data sheet (2023), H100 SXM; its tensor figures are with sparsity, twice these.
    Device("H100", "sm_90", "sm_90a", 228 * KIB, 64, 32, 3350e9, {"tensor": 989e12, "f32": 67e12, "integer": 33.5e12}),
    # 128 multiprocessors. NVIDIA Ada GPU Architecture (2023), appendix A, GeForce RTX 4090.
    Device("RTX 4090", "sm_89", None, 100 * KIB, 48, 24, 1008e9, {"tensor": 165.2e12, "f32": 82.6e12, "integer": 41.3e12}),
]


def round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def warps_of(threads: int) -> int:
    return round_up(threads, WARP) // WARP


def warps_by_registers(registers: int) -> int:
    """Warps whose registers a multiprocessor has: each scheduler has a quarter of them, and a warp's are all in one."""
    return REGISTERS // SCHEDULERS // round_up(registers * WARP, REGISTER_STEP) * SCHEDULERS


def resident_blocks(device: Device, registers: int, shared: int, threads: int) -> int:
    """Blocks that a multiprocessor holds at once; 0 when one does not fit. `shared` is static and dynamic together."""
    warps = min(device.warps, warps_by_registers(registers)) // warps_of(threads)
    return min(device.blocks, warps, device.shared // round_up(shared + RESERVED_SHARED, SHARED_STEP))


def occupancy(device: Device, blocks: int, threads: int) -> float:
    """Share of the warps that a multiprocessor can hold."""
    return blocks * warps_of(threads) / device.warps

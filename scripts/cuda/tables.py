"""The Markdown that scripts/cuda/sass writes into kernels/README.md."""

from devices import DEVICES, KIB, Device, occupancy, resident_blocks
from workload import MODELS, Call, Model, calls

BEGIN, END = "<!-- sass:begin -->", "<!-- sass:end -->"

RESOURCES = """\
By ptxas, no GPU has been asked. Registers are the most that any target from sm_80 to sm_120 takes, of entries with sm90 in
their name those of sm_90a at launch, before warpgroups hand them on; shared memory is the
kernel's own and what the launch adds (`scripts/cuda/budget.toml`). How many blocks a multiprocessor holds, and which
share of the warps that it could hold, follows from them, with the registers on the device's own target.
"""

ESTIMATES = """\
Estimated, not measured: the longer of bytes ÷ memory bandwidth and operations ÷ peak rate, by the data sheets
(`scripts/cuda/devices.py`), and which of the two it is. Every operand comes from memory once; caches may beat that, and
no kernel reaches a peak. A launch's own microseconds are not in it. A batch is the {views} views of a picture in f16;
the last block's part for class tokens alone, which is small, is left out, and – marks what such a batch does not call.
"""


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)])


def significant(number: float) -> str:
    """Three digits, all of those before the point, none past the third behind it."""
    if 0 < number < 0.001:
        return "<0.001"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def size(number: int) -> str:
    return "–" if number == 0 else f"{number} B" if number < KIB else f"{significant(number / KIB)} KiB"


def resident(device: Device, used: dict, shared: int, threads: int) -> str:
    use = used.get(device.target) or used.get(device.own_target)
    if use is None:
        return "–"
    blocks = resident_blocks(device, use.registers, shared, threads)
    return f"{blocks} · {occupancy(device, blocks, threads):.0%}"


def resources(entries: dict) -> str:
    """A row for each entry; `entries` gives its budget and what each target takes."""
    head = ["kernel entry", "registers", "shared memory", "threads", *(f"{d.name}: blocks · warps" for d in DEVICES)]
    rows = []
    for name, (budget, used) in sorted(entries.items()):
        shared = max(use.shared for use in used.values()) + budget.dynamic_shared
        fits = [resident(d, used, shared, budget.threads) for d in DEVICES]
        registers = max(use.registers for use in used.values())
        rows.append([f"`{name}`", str(registers), size(shared), str(budget.threads), *fits])
    return table(head, rows)


def time(device: Device, call: Call, unit: str) -> tuple[float, str]:
    """Seconds, and what they are spent on: memory or the unit."""
    moving, computing = call.bytes / device.bandwidth, call.operations / device.rates[unit]
    return max((moving, "memory"), (computing, unit))


def estimate(model: Model, units: dict[str, str]) -> str:
    """A row for each call of a batch; `units` tells which unit an entry multiplies on."""
    head = ["kernel entry", "call", "calls", "MB", "GFLOP", *(f"{device.name}, µs" for device in DEVICES)]
    rows, totals = [], [0.0] * len(DEVICES)
    for call in calls(model):
        times = [time(device, call, "integer" if call.integer else units[call.entry]) for device in DEVICES]
        totals = [total + call.times * seconds for total, (seconds, _) in zip(totals, times)]
        work = [significant(call.bytes / 1e6), significant(call.operations / 1e9)]
        cells = [f"{significant(seconds * 1e6)} {bound}" for seconds, bound in times]
        rows.append([f"`{call.entry}`", call.what, str(call.times) if call.times else "–", *work, *cells])
    sums = [f"{device.name} {significant(total * 1e6)} µs" for device, total in zip(DEVICES, totals)]
    return f"{model.name}, all calls of a batch: {', '.join(sums)}.\n\n{table(head, rows)}"

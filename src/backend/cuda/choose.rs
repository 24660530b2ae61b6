//! Which tile of `linear` a product takes: pure functions of the product and the card.

use super::element::Element;
use super::family::Family;
use crate::backend::{Precision, TransformerRow};

/// Depth of a slab in inputs, as in kernels/cuda/linear.cu and kernels/cuda/sm90/linear.cu.
pub(super) const DEPTH: usize = 64;

/// A block's tile of the product, and the kernel that computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tile {
    pub(super) kernel: &'static str,
    pub(super) rows: usize,
    pub(super) outputs: usize,
    /// Of a block.
    pub(super) threads: u32,
    /// Pipeline stages: slabs in dynamic shared memory, `STAGES` of the kernel.
    stages: usize,
    cost: Cost,
    /// How a kernel of compute capability 9.0 stores.
    pub(super) staging: Option<Staging>,
}

/// What a tile costs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// Share of the arithmetic units' rate while tiles are multiplied.
    efficiency: f64,
    /// Microseconds that a wave of tiles takes besides, and a launch besides its waves.
    wave: f64,
    launch: f64,
}

/// The memory through which a kernel of compute capability 9.0 stores: each warp has 16 rows of a chunk of columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Staging {
    /// Columns of a chunk, `COLUMNS` of the kernel.
    pub(super) columns: usize,
    out: Element,
    /// Warps that store.
    warps: usize,
}

/// Rows of a chunk, `WARP_ROWS` of the kernel.
pub(super) const STAGED_ROWS: usize = 16;

/// The 128-byte swizzle repeats every eight rows: `SWIZZLE_BYTES` of the kernel.
const SWIZZLE: usize = 1024;

/// The tiles of a product with inputs, weights and outputs of these types; `None` where there is no such kernel.
pub(super) fn tiles(family: Family, input: Element, weight: Precision, out: Element) -> Option<&'static [Tile]> {
    Some(match (input, weight, out) {
        (Element::F32, Precision::F32, Element::F32) => &F32_BY_F32,
        (Element::F32, Precision::F16, Element::F32) => &F32_BY_F16,
        (Element::F32, Precision::Bf16, Element::F32) => &F32_BY_BF16,
        (Element::F16, Precision::F16, out) => match (family, out) {
            (Family::Mma, Element::F32) => &MMA_F32,
            (Family::Mma, Element::F16) => &MMA_F16,
            (Family::Wgmma, Element::F32) => &WGMMA_F32,
            (Family::Wgmma, Element::F16) => &WGMMA_F16,
        },
        _ => return None,
    })
}

/// The tiles of kernels/cuda/linear.cu, by the output's elements.
const MMA_F32: [Tile; 3] = mma(["linear_128x128_f32", "linear_128x96_f32", "linear_64x64_f32"]);
const MMA_F16: [Tile; 3] = mma(["linear_128x128_f16", "linear_128x96_f16", "linear_64x64_f16"]);
/// The tiles of kernels/cuda/sm90/linear.cu.
const WGMMA_F32: [Tile; 5] = [
    wgmma("linear_sm90_128x192_f32", [128, 192], [8, 5, 32], Element::F32, PING_PONG_192),
    wgmma("linear_sm90_128x144_f32", [128, 144], [8, 5, 48], Element::F32, PING_PONG_144),
    wgmma("linear_sm90_128x128_f32", [128, 128], [8, 6, 32], Element::F32, PING_PONG_128),
    wgmma("linear_sm90_192x96_f32", [192, 96], [12, 5, 32], Element::F32, COOPERATIVE),
    wgmma("linear_sm90_64x32_f32", [64, 32], [4, 8, 32], Element::F32, SMALL),
];
const WGMMA_F16: [Tile; 5] = [
    wgmma("linear_sm90_128x192_f16", [128, 192], [8, 5, 64], Element::F16, PING_PONG_192),
    wgmma("linear_sm90_128x144_f16", [128, 144], [8, 5, 48], Element::F16, PING_PONG_144),
    wgmma("linear_sm90_128x128_f16", [128, 128], [8, 6, 64], Element::F16, PING_PONG_128),
    wgmma("linear_sm90_192x96_f16", [192, 96], [12, 5, 48], Element::F16, COOPERATIVE),
    wgmma("linear_sm90_64x32_f16", [64, 32], [4, 8, 32], Element::F16, SMALL),
];
/// The tiles of kernels/cuda/linear_f32.cu, by the weights' elements.
const F32_BY_F32: [Tile; 2] = fma(["linear_f32_f32_128x128", "linear_f32_f32_64x64"]);
const F32_BY_F16: [Tile; 2] = fma(["linear_f32_f16_128x128", "linear_f32_f16_64x64"]);
const F32_BY_BF16: [Tile; 2] = fma(["linear_f32_bf16_128x128", "linear_f32_bf16_64x64"]);

/// Fitted to the times of such tiles on an H100 (see the tests); these kernels themselves no card has run.
const PING_PONG_192: Cost = Cost { efficiency: 0.75, wave: 1.2, launch: 2.6 };
const PING_PONG_144: Cost = Cost { efficiency: 0.61, wave: 0.5, launch: 1.0 };
const PING_PONG_128: Cost = Cost { efficiency: 0.77, wave: 1.0, launch: 1.3 };
const COOPERATIVE: Cost = Cost { efficiency: 0.61, wave: 1.05, launch: 2.1 };
const SMALL: Cost = Cost { efficiency: 0.25, wave: 0.6, launch: 1.4 };

/// Rates by benches/RESULTS-gpu.md.
const fn mma([large, narrow, small]: [&'static str; 3]) -> [Tile; 3] {
    [
        Tile { stages: 3, ..plain(large, [128, 128], 128, 0.33) },
        Tile { stages: 3, ..plain(narrow, [128, 96], 128, 0.30) },
        Tile { stages: 4, ..plain(small, [64, 64], 128, 0.24) },
    ]
}

/// The rate of 128×128 is an estimate: no card has run it.
const fn fma([large, small]: [&'static str; 2]) -> [Tile; 2] {
    [plain(large, [128, 128], 256, 0.6), plain(small, [64, 64], 256, 0.33)]
}

const fn plain(kernel: &'static str, [rows, outputs]: [usize; 2], threads: u32, efficiency: f64) -> Tile {
    let cost = Cost { efficiency, wave: 0.0, launch: 0.0 };
    Tile { kernel, rows, outputs, threads, stages: 0, cost, staging: None }
}

/// A tile with consumer warps, stages and columns of a chunk.
const fn wgmma(
    kernel: &'static str,
    [rows, outputs]: [usize; 2],
    [warps, stages, columns]: [usize; 3],
    out: Element,
    cost: Cost,
) -> Tile {
    // One warpgroup more fills the slabs.
    let threads = 32 * warps as u32 + 128;
    Tile { kernel, rows, outputs, threads, stages, cost, staging: Some(Staging { columns, out, warps }) }
}

impl Tile {
    /// The tile with the least estimated time: the number of waves of blocks times the work of a block.
    pub(super) fn choose(tiles: &[Self], [rows, outputs, inputs]: [usize; 3], multiprocessors: usize) -> Self {
        let time = |tile: &Self| tile.microseconds([rows, outputs, inputs], multiprocessors);
        tiles.iter().copied().min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or(tiles[0])
    }

    /// The estimated time of a product on a card with the rate of an H100.
    fn microseconds(&self, [rows, outputs, inputs]: [usize; 3], multiprocessors: usize) -> f64 {
        // 989 TFLOP/s of 132 multiprocessors (NVIDIA H100 data sheet, 2023, SXM, f16 without sparsity). Another card's
        // rate would change only how the overheads compare, and only that card's kernels have any.
        const FLOP_PER_MICROSECOND: f64 = 989e6 / 132.0;
        let Cost { efficiency, wave, launch } = self.cost;
        // Blocks on one multiprocessor share its arithmetic units, so occupancy does not count: a wave is one block per
        // multiprocessor.
        let waves = self.blocks(rows, outputs).div_ceil(multiprocessors) as f64;
        let flops = (2 * self.rows * self.outputs * inputs.max(1)) as f64;
        launch + waves * (wave + flops / (efficiency * FLOP_PER_MICROSECOND))
    }

    /// Tiles of a product.
    pub(super) fn blocks(&self, rows: usize, outputs: usize) -> usize {
        rows.div_ceil(self.rows) * outputs.div_ceil(self.outputs)
    }

    /// Bytes of dynamic shared memory.
    pub(super) fn shared(&self) -> u32 {
        let slabs = self.stages * (self.rows + self.outputs) * DEPTH * 2;
        let staging = self.staging.map_or(0, |Staging { columns, out, warps }| {
            // The slabs begin at a multiple of the swizzle; two barriers a slab, and one for each of two turns.
            let chunk = (STAGED_ROWS * columns * out.bytes()).next_multiple_of(SWIZZLE);
            SWIZZLE + warps * chunk + (2 * self.stages + 2) * 8
        });
        (slabs + staging) as u32
    }
}

/// Waves of blocks that a batch gives the narrowest layer. Whole waves leave no multiprocessor idle; nine are about 506
/// views of ViT-B/32 on 132 multiprocessors: eight pictures of 61, with which an H100 was a fifth faster than with one.
const WAVES: usize = 9;

/// Rows of a transformer that fill whole waves of tiles of 128×128, but at most what fits an eighth of the device's memory.
pub(super) fn preferred_rows(row: TransformerRow, multiprocessors: usize, memory: usize) -> usize {
    let (tile, element) = match row.precision {
        Precision::F16 => (MMA_F16[0], Element::F16),
        _ => (F32_BY_F32[0], Element::F32),
    };
    let filled = WAVES * multiprocessors / row.width.div_ceil(tile.outputs).max(1) * tile.rows;
    filled.min(memory / 8 / row.bytes(element.bytes()).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_the_device() {
        let views = |width, patch: usize, tokens, precision, multiprocessors, gib: usize| {
            let row = TransformerRow { width, hidden: 4 * width, patch: 3 * patch * patch, precision };
            preferred_rows(row, multiprocessors, gib << 30) / tokens
        };
        // ViT-B/32 on an H100, an A100 and an RTX 4090, then with little memory: eight, six, eight and one picture of
        // 61 views.
        assert_eq!(views(768, 32, 50, Precision::F16, 132, 80), 506);
        assert_eq!(views(768, 32, 50, Precision::F16, 108, 40), 414);
        assert_eq!(views(768, 32, 50, Precision::F16, 128, 24), 491);
        assert_eq!(views(768, 32, 50, Precision::F16, 132, 1), 109);
        // In f32, by tiles as large.
        assert_eq!(views(768, 32, 50, Precision::F32, 132, 80), 506);
        // ViT-L/14 at 336 pixels.
        assert_eq!(views(1024, 14, 577, Precision::F16, 132, 80), 32);
        let row = TransformerRow { width: 1 << 40, hidden: 1, patch: 0, precision: Precision::F16 };
        assert_eq!(preferred_rows(row, 1, 1), 1);
    }

    /// Large products take the large tile, small ones the tile that keeps more multiprocessors busy.
    #[test]
    fn tiles_by_size() {
        let rows = |tiles: &[Tile], product, multiprocessors| Tile::choose(tiles, product, multiprocessors).rows;
        for multiprocessors in [108, 132, 128] {
            for tiles in [&MMA_F32[..], &MMA_F16, &F32_BY_F32, &F32_BY_F16, &F32_BY_BF16] {
                assert_eq!(rows(tiles, [61 * 50, 3072, 768], multiprocessors), 128);
                assert_eq!(rows(tiles, [61 * 257, 4096, 1024], multiprocessors), 128);
                assert_eq!(rows(tiles, [50, 768, 768], multiprocessors), 64);
                assert_eq!(rows(tiles, [61, 512, 768], multiprocessors), 64);
                assert_eq!(Tile::choose(tiles, [0, 0, 0], 1), tiles[0]);
            }
        }
    }

    /// Microseconds of a sketch's tiles on an H100 (27 November 2026, one run of shared/gpu/hopper-sketch) for [rows,
    /// outputs, inputs]: 128×192, 128×144, 128×128, 192×96.
    const MEASURED: [([usize; 3], [f64; 4]); 14] = [
        // ViT-B/32 with 61 views: query-key-value, key-value, query, output, up, down.
        ([3050, 2304, 768], [23.2, 20.3, 21.1, 21.5]),
        ([3050, 1536, 768], [16.6, 15.0, 16.7, 15.0]),
        ([3050, 768, 768], [10.8, 13.6, 12.2, 9.0]),
        ([3050, 3072, 768], [29.6, 32.0, 31.4, 32.9]),
        ([3050, 768, 3072], [26.9, 45.0, 34.8, 25.5]),
        // With 488 views: query-key-value, output, up.
        ([24400, 2304, 768], [125.7, 146.9, 127.2, 158.7]),
        ([24400, 768, 768], [52.2, 66.0, 52.6, 64.5]),
        ([24400, 3072, 768], [203.4, 228.4, 202.0, 233.5]),
        // ViT-B/16 with 61 views: query-key-value, output, up.
        ([12017, 2304, 768], [78.2, 71.1, 71.6, 86.6]),
        ([12017, 768, 768], [29.0, 36.8, 29.7, 33.4]),
        ([12017, 3072, 768], [106.4, 116.4, 104.6, 120.9]),
        // ViT-L/14 with 61 views: query-key-value, output, up.
        ([15677, 3072, 1024], [141.1, 171.8, 141.9, 200.9]),
        ([15677, 1024, 1024], [68.8, 78.5, 56.0, 69.8]),
        ([15677, 4096, 1024], [230.7, 240.4, 227.9, 262.5]),
    ];

    /// The tile that is chosen takes at most 2% more time than the best one did.
    #[test]
    fn tiles_by_measurement() {
        for (product, times) in MEASURED {
            let chosen = Tile::choose(&WGMMA_F16, product, 132);
            let index = WGMMA_F16.iter().position(|tile| *tile == chosen).expect("one of them");
            assert!(index < times.len(), "{product:?}: {chosen:?}");
            let best = times.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(times[index] <= 1.02 * best, "{product:?}: {chosen:?} took {}, the best {best}", times[index]);
        }
        // One view of ViT-B/32.
        for product in [[50, 2304, 768], [50, 768, 768], [50, 3072, 768], [50, 768, 3072]] {
            assert_eq!(Tile::choose(&WGMMA_F16, product, 132), WGMMA_F16[4], "{product:?}");
        }
    }

    #[test]
    fn shared_memory_fits_every_target() {
        // 99 KiB of a block on sm_86, sm_89 and sm_120, 227 KiB on sm_90 (CUDA C++ Programming Guide, technical
        // specifications).
        for tile in MMA_F32.iter().chain(&MMA_F16) {
            assert!(tile.shared() <= 99 << 10, "{tile:?}");
        }
        for tile in WGMMA_F32.iter().chain(&WGMMA_F16) {
            assert!(tile.shared() <= 227 << 10, "{tile:?}");
        }
    }
}

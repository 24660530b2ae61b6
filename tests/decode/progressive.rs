//! Progressive JPEGs with all that their coding has: runs of blocks, sixteen zeros at once, corrections (ITU-T T.81, G.1).

use super::{assert_refused, decode, noise};
use crossalign::PictureErrorKind;

/// Blocks of 8 × 8 samples, across and down.
const BLOCKS: (u8, u8) = (9, 7);
/// The coefficients of a block in zigzag order.
type Block = [i32; 64];

/// Entropy-coded data.
#[derive(Default)]
struct Scan {
    bytes: Vec<u8>,
    byte: u8,
    count: u32,
    /// Blocks that end here, and the corrections behind the code that says so.
    run: u32,
    corrections: Vec<u32>,
}

impl Scan {
    fn put(&mut self, bits: u32, count: u32) {
        for i in (0..count).rev() {
            self.byte = self.byte << 1 | (bits >> i & 1) as u8;
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.byte);
                self.bytes.extend((self.byte == 0xff).then_some(0));
                (self.byte, self.count) = (0, 0);
            }
        }
    }

    /// A code of the table below: of 9 bits, or for the upper half of the values of 10.
    fn symbol(&mut self, zeros: u32, size: u32) {
        let value = zeros << 4 | size;
        if value < 128 { self.put(value, 9) } else { self.put(128 + value, 10) }
    }

    /// Ends the run of blocks.
    fn end_run(&mut self) {
        if self.run > 0 {
            let size = self.run.ilog2();
            self.symbol(size, 0);
            self.put(self.run - (1 << size), size);
            self.run = 0;
        }
        self.correct(0);
    }

    /// The corrections from `first` on.
    fn correct(&mut self, first: usize) {
        for bit in self.corrections.split_off(first) {
            self.put(bit, 1);
        }
    }

    fn finish(&mut self) {
        self.end_run();
        while self.count > 0 {
            self.put(1, 1);
        }
    }

    /// G.1.2.2, of coefficients without their lowest `low` bits.
    fn first(&mut self, band: &[i32], low: u32) {
        let mut zeros = 0;
        for &coefficient in band {
            let value = coefficient.unsigned_abs() >> low;
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.end_run();
            while zeros > 15 {
                self.symbol(15, 0);
                zeros -= 16;
            }
            let size = value.ilog2() + 1;
            self.symbol(zeros, size);
            self.put(if coefficient < 0 { !value & ((1 << size) - 1) } else { value }, size);
            zeros = 0;
        }
        self.run += u32::from(zeros > 0);
    }

    /// G.1.2.3, of the bit above the lowest `low`.
    fn refined(&mut self, band: &[i32], low: u32) {
        let band: Vec<i32> = band.iter().map(|coefficient| coefficient.signum() * (coefficient.abs() >> low)).collect();
        let last = band.iter().rposition(|coefficient| coefficient.abs() == 1);
        // Corrections from `own` on are this block's.
        let (mut zeros, mut own) = (0, self.corrections.len());
        for (i, &coefficient) in band.iter().enumerate() {
            let value = coefficient.unsigned_abs();
            if value == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && Some(i) <= last {
                let corrections = self.corrections.split_off(own);
                self.end_run();
                self.symbol(15, 0);
                (self.corrections, own) = (corrections, 0);
                self.correct(0);
                zeros -= 16;
            }
            if value > 1 {
                self.corrections.push(value & 1);
                continue;
            }
            let corrections = self.corrections.split_off(own);
            self.end_run();
            self.symbol(zeros, 1);
            self.put(u32::from(coefficient > 0), 1);
            (self.corrections, own) = (corrections, 0);
            self.correct(0);
            zeros = 0;
        }
        self.run += u32::from(zeros > 0 || self.corrections.len() > own);
    }
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
}

/// A grey picture, whose last scan is the last of these: first and last coefficient, bits left out before and now.
fn jpeg(blocks: &[Block], restart: usize, scans: &[(u8, u8, u32, u32)]) -> (Vec<u8>, usize) {
    let table =
        |class: u8, counts: [u8; 16], values: &[u8]| segment(0xc4, &[&[class << 4], &counts[..], values].concat());
    // Of differences there is 0 alone, whose code is 0.
    let mut counts = [[0; 16]; 2];
    (counts[0][0], counts[1][8], counts[1][9]) = (1, 128, 128);
    let tables = [table(0, counts[0], &[0]), table(1, counts[1], &(0..=255).collect::<Vec<u8>>())].concat();
    let frame = [8, 0, BLOCKS.1 * 8, 0, BLOCKS.0 * 8, 1, 1, 0x11, 0];
    let head = [vec![0xff, 0xd8], segment(0xdb, &[&[0][..], &[9; 64]].concat()), segment(0xc2, &frame)];
    let interval = segment(0xdd, &(restart as u16).to_be_bytes());
    let mut jpeg = [head.concat(), tables, interval].concat();
    let mut start = 0;
    for &(first, last, before, now) in scans {
        jpeg.extend(segment(0xda, &[1, 1, 0, first, last, (before << 4 | now) as u8]));
        start = jpeg.len();
        let parts = blocks.chunks(if restart > 0 { restart } else { blocks.len() });
        for (i, part) in parts.enumerate() {
            if i > 0 {
                jpeg.extend([0xff, 0xd0 + (i as u8 - 1) % 8]);
            }
            let mut scan = Scan::default();
            for block in part {
                let band = &block[first.into()..=last.into()];
                match (first, before) {
                    (0, 0) => scan.put(0, 1), // the same as the block before
                    (0, _) => scan.put(block[1].unsigned_abs() & 1, 1),
                    (_, 0) => scan.first(band, now),
                    _ => scan.refined(band, now),
                }
            }
            scan.finish();
            jpeg.extend(scan.bytes);
        }
    }
    jpeg.extend([0xff, 0xd9]);
    (jpeg, start)
}

#[test]
fn every_code_is_followed() {
    let bytes = noise(64, 64);
    for (share, restart) in [(3, 0), (20, 0), (20, 5), (90, 0)] {
        let coefficient = |i: usize| match bytes[i] {
            byte if u32::from(byte) * 100 >= share * 256 => 0,
            byte => [1, -1, 2, -3, 1, 6, -1][usize::from(byte) % 7],
        };
        // Every third block is empty.
        let block = |i: usize| if i % 3 == 2 { [0; 64] } else { std::array::from_fn(|j| coefficient(64 * i + j)) };
        let blocks: Vec<Block> = (0..usize::from(BLOCKS.0) * usize::from(BLOCKS.1)).map(block).collect();
        for scans in [
            &[(0, 0, 0, 0), (1, 63, 0, 0)][..],
            &[(0, 0, 0, 0), (1, 63, 0, 1), (1, 63, 1, 0)],
            &[(0, 0, 0, 0), (1, 63, 0, 2), (1, 63, 2, 1), (1, 63, 1, 0)],
            &[(0, 0, 0, 0), (1, 20, 0, 0), (21, 63, 0, 1), (21, 63, 1, 0)],
            &[(0, 0, 0, 1), (1, 63, 0, 0), (0, 0, 1, 0)],
        ] {
            let what = format!("{share} %, restarts {restart}, {scans:?}");
            let (jpeg, start) = jpeg(&blocks, restart, scans);
            let picture = decode(&[&jpeg[..], b"behind the end"].concat()).expect(&what);
            assert!(picture.as_rgb().pixels() == &*image::load_from_memory(&jpeg).unwrap().into_rgb8(), "{what}");
            for cut in start..jpeg.len() - 2 {
                assert!(decode(&[&jpeg[..cut], b"\xff\xd9"].concat()).is_err(), "{what}: {cut} of {}", jpeg.len());
            }
        }
    }
}

#[test]
fn a_hundred_scans_are_the_most() {
    let blocks = vec![[0; 64]; usize::from(BLOCKS.0) * usize::from(BLOCKS.1)];
    // So many coefficients come in two scans.
    let scans = |twice: u8| {
        let first = (1..64).map(move |i| (i, i, 0, u32::from(i <= twice)));
        std::iter::once((0, 0, 0, 0)).chain(first).chain((1..=twice).map(|i| (i, i, 1, 0))).collect::<Vec<_>>()
    };
    assert!(decode(&jpeg(&blocks, 0, &scans(36)).0).is_ok());
    assert_refused(&jpeg(&blocks, 0, &scans(37)).0, PictureErrorKind::Damaged, "more than 100 scans");
}

/// Bits that are no code are damage where there are 16 of them, and else the end of the data.
#[test]
fn bits_that_are_no_code() {
    let blocks = vec![[0; 64]; usize::from(BLOCKS.0) * usize::from(BLOCKS.1)];
    let (jpeg, start) = jpeg(&blocks, 0, &[(0, 0, 0, 0), (1, 63, 0, 0)]);
    for (bytes, kind, words) in [
        (1, PictureErrorKind::Truncated, "in the middle of its scan data"),
        (2, PictureErrorKind::Damaged, "damaged scan data"),
        (3, PictureErrorKind::Damaged, "damaged scan data"),
    ] {
        assert_refused(&[&jpeg[..start], &b"\xff\0".repeat(bytes), b"\xff\xd9"].concat(), kind, words);
    }
}

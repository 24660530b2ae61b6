//! Local views, drawn from a picture.

use super::crop_box::CropBox;
use super::views::MAX_BOXES;
use crate::backend::Rgb;
use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How local views are drawn from a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewSampling {
    /// Number of local views, `N`.
    pub count: usize,
    /// Smallest side of a crop as a share of the picture's shorter side, `α`.
    pub alpha: f64,
    /// Largest side of a crop as a share of the picture's shorter side, `β`.
    pub beta: f64,
    /// The same seed gives the same crops of the same picture.
    pub seed: u64,
}

impl Default for ViewSampling {
    /// WCA's: 60 crops of 0.5 to 0.9 of the shorter side.
    fn default() -> Self {
        Self { count: 60, alpha: 0.5, beta: 0.9, seed: 0 }
    }
}

impl ViewSampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// When not `0 < α ≤ β ≤ 1`, or there are more than 100,000 views.
    pub fn check(&self) -> Result<()> {
        if !(self.alpha > 0.0 && self.alpha <= self.beta && self.beta <= 1.0) {
            let found = format!("α = {}, β = {}", self.alpha, self.beta);
            return Err(Error::argument("crop sides", found, "0 < α ≤ β ≤ 1"));
        }
        if self.count > MAX_BOXES {
            return Err(Error::argument("views", self.count.to_string(), format!("at most {MAX_BOXES}")));
        }
        Ok(())
    }

    /// The crops of a picture: squares of side `⌊U(α, β) · min(w, h)⌋` at a uniform position inside.
    ///
    /// Crop `i` depends on the seed, the picture's pixels and `i` alone: ChaCha8 keyed by seed and pixel hash,
    /// stream `i`.
    ///
    /// # Errors
    /// As [`ViewSampling::check`].
    pub fn boxes(&self, picture: Rgb<'_>) -> Result<Vec<CropBox>> {
        self.check()?;
        let key = self.key(picture);
        let shorter = picture.width().min(picture.height());
        Ok((0..self.count as u64)
            .map(|i| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream(i);
                let share = self.alpha + (self.beta - self.alpha) * unit(rng.next_u64());
                let side = ((share * f64::from(shorter)) as u32).clamp(1, shorter);
                let x = below(rng.next_u64(), picture.width() - side + 1);
                let y = below(rng.next_u64(), picture.height() - side + 1);
                CropBox::new(x, y, side, side)
            })
            .collect())
    }

    fn key(&self, picture: Rgb<'_>) -> [u8; 32] {
        let pixels = xxhash_rust::xxh3::xxh3_128(picture.pixels());
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..24].copy_from_slice(&pixels.to_le_bytes());
        key[24..28].copy_from_slice(&picture.width().to_le_bytes());
        key[28..].copy_from_slice(&picture.height().to_le_bytes());
        key
    }
}

/// 53 random bits as a number in [0, 1).
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `n`; the bias of 2⁻³² is far below what 60 draws can show.
fn below(random: u64, n: u32) -> u32 {
    ((u128::from(random) * u128::from(n)) >> 64) as u32
}

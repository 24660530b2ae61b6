//! int8 quantization, the same on every backend: symmetric, each row scaled by its largest magnitude.

/// The scale of a row's integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The value of the integer 1.
    pub(crate) unit: f32,
    inverse: f32,
}

impl Scale {
    /// The scale that maps the row's largest magnitude to 127; a row of zeros stays 0.
    #[inline(always)]
    pub(crate) fn of(row: &[f32]) -> Self {
        // 32 independent maxima, so that the compiler vectorises the loop; the maximum is the same in any order.
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let (chunks, rest) = row.as_chunks::<32>();
        let mut largest = [0f32; 32];
        for chunk in chunks {
            for (largest, x) in largest.iter_mut().zip(chunk) {
                *largest = larger(x.abs(), *largest);
            }
        }
        for half in [16, 8, 4, 2, 1] {
            for i in 0..half {
                largest[i] = larger(largest[i], largest[i + half]);
            }
        }
        let largest = rest.iter().fold(largest[0], |max, x| larger(x.abs(), max));
        let inverse = 127.0 / largest;
        if inverse.is_finite() { Self { unit: largest / 127.0, inverse } } else { Self { unit: 0.0, inverse: 0.0 } }
    }

    /// Rounds to the nearest integer of −127 ..= 127, ties to even.
    #[inline(always)]
    pub(crate) fn quantize(self, x: f32) -> i8 {
        // Adding 1.5 · 2²³ rounds to an integer, which the lowest bits then hold; branch-free, so that the compiler
        // vectorises loops over it.
        const SHIFT: f32 = 12_582_912.0;
        (x * self.inverse + SHIFT).to_bits() as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_integers() {
        let scale = Scale::of(&[0.5, -2.0, 1.0]);
        assert_eq!([0.5, -2.0, 1.0, 0.0].map(|x| scale.quantize(x)), [32, -127, 64, 0]);
        assert!((scale.unit * 127.0 - 2.0).abs() < 1e-6);
        let row: Vec<f32> = (0..100).map(|i| i as f32 - 77.0).collect();
        let scale = Scale::of(&row);
        assert_eq!(row.iter().map(|&x| scale.quantize(x)).min(), Some(-127));
        for none in [&[0.0, -0.0][..], &[], &[1e-45]] {
            let scale = Scale::of(none);
            assert_eq!((scale.unit, scale.quantize(1.0)), (0.0, 0), "{none:?}");
        }
        // Ties to even, of either sign.
        let scale = Scale::of(&[127.0]);
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5].map(|x| scale.quantize(x)), [0, 2, 2, 0, -2]);
    }
}

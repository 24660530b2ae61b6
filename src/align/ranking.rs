//! Sorting scores, best first.

/// The indices of the `n` largest values, largest first; of equal ones the lower index.
pub(super) fn best(values: impl Iterator<Item = f32>, n: usize) -> Vec<usize> {
    let mut values: Vec<(usize, f32)> = values.enumerate().collect();
    // Stable: ties keep the lower index first. Adding 0 makes −0 and 0 a tie.
    values.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)));
    values.into_iter().take(n).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_equals_the_lower_index_is_first() {
        let best = |values: &[f32], n| super::best(values.iter().copied(), n);
        assert_eq!(best(&[0.5; 5], 9), [0, 1, 2, 3, 4]);
        assert_eq!(best(&[0.1, 0.5, 0.2, 0.5, 0.1], 9), [1, 3, 2, 0, 4]);
        assert_eq!(best(&[-0.5, -0.0, 0.0, 0.5, 0.0, -0.0, -0.5], 3), [3, 1, 2]);
        // −0 and 0 are equal.
        for zeros in [[0.0; 5], [-0.0; 5], [-0.0, 0.0, -0.0, 0.0, -0.0], [0.0, -0.0, 0.0, -0.0, -0.0]] {
            assert_eq!(best(&zeros, 5), [0, 1, 2, 3, 4]);
        }
        assert_eq!(best(&[-0.0, 0.0, -0.5, -0.0, 0.5], 5), [4, 0, 1, 3, 2]);
    }
}

//! How a class's descriptions become one number.

use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// How [`Backend::weighted_similarity`](super::Backend::weighted_similarity) reduces a class's descriptions: from their
/// weights `vⱼ` and their similarities `sᵢⱼ` with a view. Its name, as text and in serde, is `mean`, `max` or `best:K`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// `Σⱼ vⱼ sᵢⱼ`: bilinear, WCA's own.
    #[default]
    WeightedMean,
    /// `Σⱼ vⱼ sᵢⱼ / Σⱼ vⱼ` over the `k` descriptions that fit the view best; texts of weight 0 are masked out, and of
    /// equal similarities the lower index counts as better. Of fewer than `k` descriptions all count. `k = 1` is the
    /// maximum, whatever its weight.
    BestMean(usize),
}

impl Reduction {
    /// `maxⱼ sᵢⱼ`
    pub const MAX: Self = Self::BestMean(1);
}

impl FromStr for Reduction {
    type Err = Error;

    /// `mean`, `max`, or `best:K` with a `K` of at least 1; `best:1` is `max`.
    fn from_str(text: &str) -> Result<Self> {
        let best = |text: &str| text.strip_prefix("best:")?.parse().ok().filter(|&k| k > 0).map(Self::BestMean);
        match text {
            "mean" => Ok(Self::WeightedMean),
            "max" => Ok(Self::MAX),
            _ => best(text).ok_or_else(|| {
                Error::argument("reduction", format!("{text:?}"), "mean, max, or best:K with a K of at least 1")
            }),
        }
    }
}

impl Display for Reduction {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::WeightedMean => f.write_str("mean"),
            Self::MAX => f.write_str("max"),
            Self::BestMean(k) => write!(f, "best:{k}"),
        }
    }
}

impl Serialize for Reduction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reduction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

//! Host code that both GPU backends share: the tables and weights that their kernels read. One file per kernel, where
//! it needs one.

pub(super) mod attention;
pub(super) mod crop_resize;
pub(super) mod linear;
pub(super) mod table_cache;
pub(super) mod weighted_similarity;

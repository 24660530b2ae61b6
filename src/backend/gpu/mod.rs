//! What the hosts of both GPU backends share: what they lay out for their kernels to read. One file a kernel, as far as it needs
//! any.

pub(super) mod attention;
pub(super) mod crop_resize;
pub(super) mod linear;
pub(super) mod table_cache;
pub(super) mod weighted_similarity;

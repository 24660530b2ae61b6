//! `mini`: the small CLIP that is compiled in.

use super::source::Source;

pub(crate) const MINI: Source = Source::BuiltIn("mini", crossalign_mini::FILES);

pub use crossalign_mini::PROMPTS as MINI_PROMPTS;

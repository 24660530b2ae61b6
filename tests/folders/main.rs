//! Model folders as people have them: what a config, a tensor or a file asks for is done, or refused by name.

mod backends;
#[path = "../common/mod.rs"]
mod common;
mod defaults;
mod fields;
mod files;
mod folder;
mod forward;
mod keys;
mod tensors;

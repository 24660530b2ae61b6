//! Empty: a member of the workspace that is built by default, whose dependency turns on the features of the program, so
//! that `cargo run` in a fresh checkout has them and users of the library do not.

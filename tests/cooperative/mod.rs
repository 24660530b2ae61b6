//! The kernels on cooperative matrices in plain WGSL: the modules as they are, but for the types and the operations of
//! the extension, which `matrices.wgsl` has as functions. So their slabs, barriers, edges and bases run on any adapter.

use regex::{Captures, Regex};
use std::path::Path;

/// The module for matrices of `side`, for subgroups of so many invocations.
pub fn source(side: u32, subgroup: u32) -> String {
    let matrices =
        replaced(include_str!("matrices.wgsl"), "MEMBERS: u32 = 32;", &format!("MEMBERS: u32 = {subgroup};"));
    // As `build.rs` composes it.
    let module = Path::new(env!("OUT_DIR")).join(format!("linear_cooperative_{side}.wgsl"));
    let mut source = std::fs::read_to_string(module).unwrap();
    for (of_extension, plain) in [
        ("enable f16;\nenable wgpu_cooperative_matrix;\n", ""),
        (&format!("alias FragmentA = coop_mat{side}x{side}<f16, A>;\n"), ""),
        (&format!("alias FragmentB = coop_mat{side}x{side}<f16, B>;\n"), ""),
        (&format!("alias FragmentC = coop_mat{side}x{side}<f32, C>;\n"), ""),
        ("    @builtin(subgroup_id) subgroup: u32,\n", ""),
        ("    @builtin(subgroup_invocation_id) member: u32,\n", ""),
        (
            "\n) {\n    tile(",
            "\n) {\n    let subgroup = lane / SUBGROUP;\n    let member = lane % SUBGROUP;\n    own_member = member;\n    tile(",
        ),
        ("array<f16, ", "array<f32, "),
        ("vec4<f16>()", "vec4<f32>()"),
        ("vec4<f16>(", "to_half_and_back("),
        ("-> vec4<f16>", "-> vec4<f32>"),
        ("coopMultiplyAdd(", "multiply_add("),
    ] {
        source = replaced(&source, of_extension, plain);
    }
    let access =
        Regex::new(r"coop(Load|Store)(T?)(<Fragment[AB]>)?\((\w+, )?&([abc])_(slab|fragment)\[(.+)\], (\w+)\)")
            .unwrap();
    let plain = |found: &Captures| {
        let order = if found[2].is_empty() { "columns" } else { "rows" };
        match &found[1] {
            "Load" => format!("load_{order}({}, {}, {})", &found[5] == "b", &found[7], &found[8]),
            _ => format!("store_{order}({}{}, {})", &found[4], &found[7], &found[8]),
        }
    };
    let source = access.replace_all(&source, plain);
    let left = Regex::new(r"(?m)^[^/\n]*(coop[A-Z_]|f16\b).*$").unwrap();
    let left: Vec<&str> =
        left.find_iter(&source).map(|found| found.as_str()).filter(|line| !line.contains("unpack2x16")).collect();
    assert!(left.is_empty(), "what is not emulated: {left:?}");
    format!("{source}\n{matrices}")
}

/// Fails where the text is not in the module any more.
fn replaced(source: &str, from: &str, to: &str) -> String {
    assert!(source.contains(from), "the module has no {from:?}");
    source.replace(from, to)
}

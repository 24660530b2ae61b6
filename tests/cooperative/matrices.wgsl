// The operations on cooperative matrices in plain WGSL, as naga defines them, for tests/cooperative/mod.rs. Of a sum each
// invocation of a subgroup holds a run of elements, which it neither stores nor reads back alone: what passes between
// invocations without a barrier is seen.

// Invocations of a subgroup.
const MEMBERS: u32 = 32;
const PART: u32 = FRAGMENT * FRAGMENT / MEMBERS;

var<private> own_member: u32;

// An operand stays where it lies: in which slab, from where, and how far apart rows and columns are.
struct Operand {
    in_b: bool,
    at: u32,
    down: u32,
    across: u32,
}

alias FragmentA = Operand;
alias FragmentB = Operand;
alias FragmentC = array<f32, PART>;

// coopLoadT: a row of the matrix is contiguous.
fn load_rows(in_b: bool, at: u32, pitch: u32) -> Operand {
    return Operand(in_b, at, pitch, 1);
}

// coopLoad: a column is.
fn load_columns(in_b: bool, at: u32, pitch: u32) -> Operand {
    return Operand(in_b, at, 1, pitch);
}

fn element(operand: Operand, row: u32, column: u32) -> f32 {
    let at = operand.at + row * operand.down + column * operand.across;
    if operand.in_b {
        return b_slab[at];
    }
    return a_slab[at];
}

fn multiply_add(a: Operand, b: Operand, c: FragmentC) -> FragmentC {
    var sums = c;
    for (var i = 0u; i < PART; i++) {
        let row = (own_member * PART + i) / FRAGMENT;
        let column = (own_member * PART + i) % FRAGMENT;
        for (var k = 0u; k < FRAGMENT; k++) {
            sums[i] += element(a, row, k) * element(b, k, column);
        }
    }
    return sums;
}

// coopStoreT
fn store_rows(c: FragmentC, at: u32, pitch: u32) {
    var parts = c;
    for (var i = 0u; i < PART; i++) {
        let element = own_member * PART + i;
        c_fragment[at + element / FRAGMENT * pitch + element % FRAGMENT] = parts[i];
    }
}

// coopStore
fn store_columns(c: FragmentC, at: u32, pitch: u32) {
    var parts = c;
    for (var i = 0u; i < PART; i++) {
        let element = own_member * PART + i;
        c_fragment[at + element % FRAGMENT * pitch + element / FRAGMENT] = parts[i];
    }
}

fn to_half_and_back(x: vec4<f32>) -> vec4<f32> {
    return vec4(unpack2x16float(pack2x16float(x.xy)), unpack2x16float(pack2x16float(x.zw)));
}

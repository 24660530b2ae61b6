// What the adapter can do: multiply-adds that never leave the registers, and reads of a large buffer.

override STEPS: u32 = 1;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

// Eight independent chains of vec4 an invocation; x ← x/2 + 1 converges to 2, so no operand is ever slow.
@compute @workgroup_size(256)
fn fma_chains(@builtin(global_invocation_id) id: vec3<u32>) {
    let half = vec4(input[0].x);
    let one = vec4(input[0].y);
    var a = one;
    var b = one + half;
    var c = one * 3;
    var d = one * 4;
    var e = one * 5;
    var f = one * 6;
    var g = one * 7;
    var h = one * 8;
    for (var i = 0u; i < STEPS; i++) {
        a = fma(a, half, one);
        b = fma(b, half, one);
        c = fma(c, half, one);
        d = fma(d, half, one);
        e = fma(e, half, one);
        f = fma(f, half, one);
        g = fma(g, half, one);
        h = fma(h, half, one);
    }
    out[id.x] = dot(a + b + c + d + e + f + g + h, one);
}

// Every vector of the buffer once, neighbours by neighbours.
@compute @workgroup_size(256)
fn read_all(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var sum = vec4<f32>();
    for (var i = id.x; i < arrayLength(&input); i += groups.x * 256) {
        sum += input[i];
    }
    out[id.x] = dot(sum, vec4(1));
}

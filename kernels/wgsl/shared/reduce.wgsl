// Sums and maxima over the 64 invocations of a workgroup, always in the same tree.

const LANES: u32 = 64;

var<workgroup> lanes: array<f32, LANES>;

fn sum_of_lanes(lane: u32, x: f32) -> f32 {
    lanes[lane] = x;
    workgroupBarrier();
    for (var stride = LANES / 2; stride > 0; stride /= 2) {
        if lane < stride {
            lanes[lane] += lanes[lane + stride];
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&lanes[0]);
}

fn max_of_lanes(lane: u32, x: f32) -> f32 {
    lanes[lane] = x;
    workgroupBarrier();
    for (var stride = LANES / 2; stride > 0; stride /= 2) {
        if lane < stride {
            lanes[lane] = max(lanes[lane], lanes[lane + stride]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&lanes[0]);
}

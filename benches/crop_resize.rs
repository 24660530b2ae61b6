//! `crop_resize`: 60 random square crops (0.5 to 0.9 of the shorter side) of one picture to 224×224, as bytes and as
//! the normalised patches of ViT-B/32. Pictures of 1024×768 at every level, 512×512 and 4000×3000 at the best one.
//!
//! Operations are counted from the plan's taps: what Pillow's two passes have to do.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::backend::args::CropResizeArgs;
use crossalign::backend::{
    Backend, Cpu, CropJob, CropOutput, CropPlan, PatchLayout, Reference, Rgb, Shape, SimdLevel, Taps,
};
use crossalign::image::{Resize, ViewSampling, plan_views};
use crossalign::model::Config;

/// The local views: all but the global one.
const CROPS: std::ops::Range<usize> = 1..61;

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "crop_resize", 1.0);
    let layout = layout();
    for (width, height) in [(1024, 768), (512, 512), (4000, 3000)] {
        let picture = input::picture(width, height);
        let picture = picture.as_rgb();
        let boxes = ViewSampling::default().boxes(picture).expect("the default ranges");
        let plan = plan_views((width, height), &boxes, 224, Resize::ShortestEdge).expect("boxes of this picture");
        let work = Work::IntegerOps(operations(&plan));
        let crops = CROPS.len() as u64;
        for level in input::levels().filter(|&level| width == 1024 || level == SimdLevel::best()) {
            for threads in input::thread_counts() {
                let cpu = input::cpu(level, threads);
                check(&cpu, picture, &plan, &layout);
                let name = |output| format!("{width}x{height} {output} {}", input::name(&cpu));

                let mut bytes = vec![0; CROPS.len() * 224 * 224 * 3];
                group.bench(&name("bytes"), threads, crops, work, || {
                    cpu.crop_resize(CropResizeArgs {
                        jobs: &[CropJob { picture: &picture, plan: &plan, views: CROPS }],
                        output: CropOutput::Bytes(&mut bytes),
                    })
                    .expect("a valid call");
                });
                let mut rows = cpu.allocate(patch_rows(CROPS.len())).expect("memory");
                group.bench(&name("patches"), threads, crops, work, || {
                    let output = CropOutput::Patches { layout: &layout, first_row: 0, out: &mut rows };
                    cpu.crop_resize(CropResizeArgs {
                        jobs: &[CropJob { picture: &picture, plan: &plan, views: CROPS }],
                        output,
                    })
                    .expect("a valid call");
                });
            }
        }
    }
}

/// ViT-B/32's patches and normalisation.
fn layout() -> PatchLayout {
    let config = Config::named("ViT-B-32").expect("a published architecture");
    PatchLayout::new(config.patch_size, config.mean, config.std).expect("CLIP's own")
}

fn patch_rows(views: usize) -> Shape {
    Shape::new(views * 49, 3 * 32 * 32)
}

/// Two for each multiply-add of both passes.
fn operations(plan: &CropPlan) -> f64 {
    let reads = |taps: &Taps| (0..taps.len()).map(|i| taps.get(i).1.len()).sum::<usize>();
    let view = |view: &crossalign::backend::CropView| {
        let (horizontal, vertical) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        3 * (reads(horizontal) * vertical.span().len() + reads(vertical) * horizontal.len())
    };
    2.0 * plan.views()[CROPS].iter().map(view).sum::<usize>() as f64
}

/// The first crop is the reference's, byte for byte and number for number.
fn check(cpu: &Cpu, picture: Rgb<'_>, plan: &CropPlan, layout: &PatchLayout) {
    fn run(backend: &impl Backend, picture: Rgb<'_>, plan: &CropPlan, layout: &PatchLayout) -> (Vec<u8>, Vec<f32>) {
        let picture = &backend.upload_picture(picture).expect("memory");
        let mut bytes = vec![0; 224 * 224 * 3];
        let mut rows = backend.allocate(patch_rows(1)).expect("memory");
        let patches = CropOutput::Patches { layout, first_row: 0, out: &mut rows };
        backend
            .crop_resize(CropResizeArgs {
                jobs: &[CropJob { picture, plan, views: 1..2 }],
                output: CropOutput::Bytes(&mut bytes),
            })
            .expect("a valid call");
        backend
            .crop_resize(CropResizeArgs { jobs: &[CropJob { picture, plan, views: 1..2 }], output: patches })
            .expect("a valid call");
        (bytes, backend.download(&rows).expect("memory"))
    }
    assert!(run(cpu, picture, plan, layout) == run(&Reference, picture, plan, layout), "{}", input::name(cpu));
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);

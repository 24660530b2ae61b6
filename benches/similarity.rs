//! WCA's scores and weights: 61 views against about 50,000 descriptions in 1,000 ragged classes (10 to 90 each), all
//! of width 512: `weighted_similarity` with each reduction, and the descriptions' `alignment_weights`.
//!
//! `alignment_weights` multiplies each description with one vector: it can be no faster than memory.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::backend::args::{AlignmentWeightsArgs, WeightedSimilarityArgs};
use crossalign::backend::{Backend, Cpu, HostTensor, Precision, Reduction, Reference, Shape, SimdLevel};

const VIEWS: usize = 61;
const CLASSES: usize = 1000;
const WIDTH: usize = 512;
/// Classes that are compared with the reference.
const CHECKED: usize = 5;

/// The embeddings of one picture and of all descriptions.
struct Embeddings {
    views: HostTensor,
    view_weights: HostTensor,
    texts: HostTensor,
    text_weights: HostTensor,
    labels: HostTensor,
    classes: Vec<u32>,
}

impl Embeddings {
    fn new(cpu: &Cpu) -> Self {
        let classes = input::ragged(CLASSES, 10, 90, 1);
        let texts = classes[CLASSES] as usize;
        let unit = |rows, seed| input::tensor(cpu, rows, WIDTH, 1.0 / WIDTH as f32, seed);
        let uniform = |count: usize| cpu.upload(Shape::new(1, count), &vec![1.0 / 61.0; count]).expect("memory");
        Self {
            views: unit(VIEWS, 2),
            view_weights: uniform(VIEWS),
            texts: unit(texts, 3),
            text_weights: uniform(texts),
            labels: unit(CLASSES, 4),
            classes,
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "similarity", 1.5);
    for threads in input::thread_counts() {
        let cpu = input::cpu(SimdLevel::best(), threads);
        let embeddings = Embeddings::new(&cpu);
        bench_scores(&mut group, &cpu, &embeddings);
        bench_weights(&mut group, &cpu, &embeddings);
    }
}

fn bench_scores(group: &mut Group<'_>, cpu: &Cpu, embeddings: &Embeddings) {
    let Embeddings { views, view_weights, texts, text_weights, classes, .. } = embeddings;
    let count = text_weights.data().len();
    let packed = cpu.pack(Shape::new(count, WIDTH), texts.data(), None, Precision::F32).expect("data of that shape");
    let work = Work::Flops((2 * VIEWS * count * WIDTH) as f64);
    for (name, reduction) in [
        ("weighted mean", Reduction::WeightedMean),
        ("best 1", Reduction::BestMean(1)),
        ("best 5", Reduction::BestMean(5)),
    ] {
        let mut scores = cpu.allocate(Shape::new(1, CLASSES)).expect("memory");
        let run = |scores: &mut HostTensor| {
            cpu.weighted_similarity(WeightedSimilarityArgs {
                views,
                view_weights,
                texts: &packed,
                text_weights,
                classes,
                reduction,
                out: scores,
            })
            .expect("a valid call");
        };
        run(&mut scores);
        input::assert_close(&scores.data()[..CHECKED], &first_scores(embeddings, reduction));
        let name = format!("{name} {}", input::name(cpu));
        group.bench(&name, cpu.threads(), count as u64, work, || run(&mut scores));
    }
}

fn bench_weights(group: &mut Group<'_>, cpu: &Cpu, embeddings: &Embeddings) {
    let Embeddings { texts, labels, classes, .. } = embeddings;
    let count = classes[CLASSES] as usize;
    let mut weights = cpu.allocate(Shape::new(1, count)).expect("memory");
    let run = |weights: &mut HostTensor| {
        cpu.alignment_weights(AlignmentWeightsArgs {
            rows: texts,
            anchors: labels,
            offsets: classes,
            scale: 2f32.exp(),
            out: weights,
        })
        .expect("a valid call");
    };
    run(&mut weights);
    for bounds in classes.windows(2) {
        let sum: f32 = weights.data()[bounds[0] as usize..bounds[1] as usize].iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "weights of a class sum to {sum}");
    }
    let work = Work::Bytes(size_of_val(texts.data()) as f64);
    let name = format!("alignment weights {}", input::name(cpu));
    group.bench(&name, cpu.threads(), count as u64, work, || run(&mut weights));
}

/// The reference's scores of the first classes.
fn first_scores(embeddings: &Embeddings, reduction: Reduction) -> Vec<f32> {
    let Embeddings { views, view_weights, texts, text_weights, classes, .. } = embeddings;
    let classes = &classes[..=CHECKED];
    let count = classes[CHECKED] as usize;
    let few = &texts.data()[..count * WIDTH];
    let packed = Reference.pack(Shape::new(count, WIDTH), few, None, Precision::F32).expect("data of that shape");
    let text_weights = Reference.upload(Shape::new(1, count), &text_weights.data()[..count]).expect("memory");
    let mut scores = Reference.allocate(Shape::new(1, CHECKED)).expect("memory");
    Reference
        .weighted_similarity(WeightedSimilarityArgs {
            views,
            view_weights,
            texts: &packed,
            text_weights: &text_weights,
            classes,
            reduction,
            out: &mut scores,
        })
        .expect("a valid call");
    scores.data().to_vec()
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);

//! The fuzz targets' bodies on their seeds, on seeds cut short, and on seeds that were mutated.

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;

/// The lengths that a seed is cut to, evenly spread.
const CUTS: usize = 40;

/// A change to a seed's bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// The rest becomes the end of another seed.
    Splice(Index, Index, Index),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        // The bytes that formats care about, and any other.
        let byte = || prop_oneof![prop::sample::select(b"\0\x01\x7f\x80\xff\"{}[],:-0 9e".to_vec()), any::<u8>()];
        prop_oneof![
            4 => (any::<Index>(), byte()).prop_map(|(place, byte)| Self::Flip(place, byte)),
            2 => (any::<Index>(), vec(byte(), 1..9)).prop_map(|(place, bytes)| Self::Insert(place, bytes)),
            2 => (any::<Index>(), 1..9usize).prop_map(|(place, count)| Self::Remove(place, count)),
            1 => any::<(Index, Index, Index)>().prop_map(|(place, seed, from)| Self::Splice(place, seed, from)),
        ]
    }

    fn apply(&self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = |place: &Index, data: &[u8]| place.index(data.len() + 1);
        match self {
            Self::Flip(place, byte) => {
                let place = at(place, data);
                data.iter_mut().skip(place).take(1).for_each(|b| *b = *byte);
            }
            Self::Insert(place, bytes) => {
                let place = at(place, data);
                data.splice(place..place, bytes.iter().copied());
            }
            Self::Remove(place, count) => {
                let place = at(place, data);
                data.drain(place..data.len().min(place + count));
            }
            Self::Splice(place, seed, from) => {
                data.truncate(at(place, data));
                let seed = &seeds[seed.index(seeds.len())];
                data.extend_from_slice(&seed[at(from, seed)..]);
            }
        }
    }
}

/// The seeds of a target, in order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn survives(target: &str, mutants: u32, body: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        body(seed);
        let step = seed.len().div_ceil(CUTS).max(1);
        (0..seed.len()).step_by(step).for_each(|length| body(&seed[..length]));
    }
    let config = Config { failure_persistence: None, ..Config::with_cases(mutants) };
    let mutations = (any::<Index>(), vec(Mutation::any(), 1..6));
    let mutant = |(seed, mutations): (Index, Vec<Mutation>)| {
        let mut data = seeds[seed.index(seeds.len())].clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut data, &seeds));
        body(&data);
        Ok(())
    };
    TestRunner::new(config).run(&mutations, mutant).unwrap();
}

macro_rules! survive {
    ($($body:ident: $mutants:literal),+) => {$(
        #[test]
        fn $body() {
            survives(stringify!($body), $mutants, bodies::$body);
        }
    )+};
}

survive!(weights: 200, config: 200, prompts: 2000, labels: 2000, boxes: 2000, classifier: 1000, tokenizer: 500, picture: 1000);

//! Hostile classifier files.

use super::accepted;
use super::folder::{golden, small_picture};
use crossalign::align::Views;
use crossalign::engine::{ModelOptions, Towers};
use crossalign::image::CropBox;
use crossalign::{Classifier, CompiledClassifier, Model, Result};
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| golden(ModelOptions::default().with_towers(Towers::Vision)));

/// A classifier file.
pub fn classifier(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (hostile, saved) = (folder.path().join("hostile.safetensors"), folder.path().join("saved.safetensors"));
    std::fs::write(&hostile, data).expect("room for a file");
    let Some(compiled) = accepted(CompiledClassifier::open(&hostile), &hostile.display().to_string()) else { return };
    compiled.save(&saved).expect("a classifier that can be written");
    assert_eq!(CompiledClassifier::open(&saved).expect("a classifier that was written"), compiled);
    assert_classifies(compiled);
}

/// However it was made, a classifier of the model's width scores pictures; one of another width is refused.
fn assert_classifies(mut compiled: CompiledClassifier) {
    compiled.model = MODEL.fingerprint().into();
    let (classes, fits) = (compiled.classes.len(), compiled.kept.rows().width == MODEL.config().embed);
    let views = Views::Boxes(vec![CropBox::new(0, 0, 2, 2), CropBox::new(2, 1, 1, 1)]);
    let scores = |classifier: Classifier| -> Result<usize> {
        Ok(classifier.with_views(views).classify_batch(&[&small_picture()])?[0].predictions().len())
    };
    let scored = accepted(MODEL.clone().into_classifier(compiled).and_then(scores), ": found");
    assert_eq!(scored, fits.then_some(classes));
}

//! Accuracies from ranks.

use crossalign::Method;
use crossalign::align::{Accuracy, Percentage, Ranks};

fn ranks(clip: usize, wca: [usize; 3]) -> Vec<Ranks> {
    let ranks = |method, ranks: &[usize]| Ranks { method, ranks: ranks.to_vec() };
    vec![ranks(Method::Clip, &[clip]), ranks(Method::Wca, &wca)]
}

#[test]
fn accuracy_counts_ranks() {
    let pictures = [ranks(1, [1, 1, 2]), ranks(5, [1, 2, 1]), ranks(6, [1, 6, 7]), ranks(2, [9, 9, 9])];
    let all = Accuracy::of(&pictures).unwrap();
    assert_eq!(all[0].top1, Percentage { mean: 25.0, standard_deviation: None, runs: vec![25.0] });
    assert_eq!(all[0].top5.runs, [75.0]);
    assert_eq!(all[1].top1.runs, [75.0, 25.0, 25.0]);
    assert_eq!(all[1].top5.runs, [75.0, 50.0, 50.0]);
    assert!((all[1].top1.mean - 125.0 / 3.0).abs() < 1e-12);
    assert!((all[1].top1.standard_deviation.unwrap() - (2500.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(Accuracy::of(&[]).unwrap(), []);
}

#[test]
fn pictures_of_other_methods_are_refused() {
    let message = Accuracy::of(&[ranks(1, [1; 3]), ranks(1, [1; 3])[..1].to_vec()]).unwrap_err().to_string();
    assert!(message.starts_with("ranks: found [(Clip, 1)]"), "{message}");
}

//! Children that are forked off a process that has a model.

use super::common::cuda::run_with;
use crossalign::{Classifier, CompileOptions, Error, Method, Model, ModelOptions, Picture, Prompts};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
    fn alarm(seconds: u32) -> u32;
}

/// Runs `work` in a forked child, and gives its result; false where it hangs and an alarm ends it.
fn child(work: impl FnOnce() -> bool) -> bool {
    let mut status = 0;
    // SAFETY: the child only runs `work` and ends; the parent waits for it.
    unsafe {
        match fork() {
            0 => {
                alarm(60);
                _exit(i32::from(!work()));
            }
            process => assert_eq!(waitpid(process, &mut status, 0), process),
        }
    }
    status == 0
}

fn options(device: &str) -> ModelOptions {
    ModelOptions::default().with_device(device.parse().unwrap())
}

fn classifier(device: &str) -> Classifier {
    let prompts = Prompts::from_json(r#"{"pig": ["pink"], "sheep": ["wool"]}"#).unwrap();
    // One view a picture.
    let clip = CompileOptions::default().with_method(Method::Clip);
    Model::mini(&options(device)).unwrap().compile(&prompts, &clip).unwrap()
}

/// Does nothing except in the process that [`fork_with_a_model_on`] starts.
#[test]
fn a_child_of_a_process_that_has_a_model() {
    let Ok(device) = std::env::var("FORK") else { return };
    let picture = Picture::new(8, 8, vec![77; 8 * 8 * 3]).unwrap();
    let scores = |classifier: &Classifier| {
        let result = classifier.classify(&picture)?;
        Ok(result.predictions().iter().map(|prediction| prediction.score).collect::<Vec<_>>())
    };
    let mut classifier = Some(classifier(&device));
    let expected: Result<_, Error> = scores(classifier.as_ref().unwrap());
    let expected = expected.unwrap();
    assert!(child(|| {
        let own = classifier.take().unwrap();
        let mut stream = own.stream(Default::default()).pictures([(1, picture.clone())]);
        let streamed = stream.next().unwrap().1.map(|_| expected.clone());
        let found = [scores(&own), scores(&own), streamed];
        drop((stream, own));
        let is_right = |found: Result<Vec<f32>, Error>| match found {
            Ok(found) => device == "cpu" && found == expected,
            Err(error) => device != "cpu" && error.to_string().contains("was forked after"),
        };
        found.into_iter().all(is_right)
    }));
    // What the child has dropped still works in the parent.
    assert_eq!(scores(classifier.as_ref().unwrap()).unwrap(), expected);
    if device == "cuda" {
        assert!(child(|| Model::mini(&options("cuda")).err().unwrap().to_string().contains("was forked after")));
    }
}

fn fork_with_a_model_on(device: &str) {
    run_with("fork::a_child_of_a_process_that_has_a_model", &[("FORK", device)]);
}

#[test]
fn a_child_works_on_the_cpu() {
    fork_with_a_model_on("cpu");
}

#[machine::has(gxx)]
#[test]
fn a_child_is_told_of_a_gpu_by_cuda() {
    fork_with_a_model_on("cuda");
}

#[machine::has(vulkan)]
#[test]
fn a_child_is_told_of_a_gpu_by_wgpu() {
    fork_with_a_model_on("wgpu:0");
}

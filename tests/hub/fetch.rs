//! What is fetched: the files that are needed, once, whole.

use super::server::{Answer, MODEL, Repository, sha256};
use super::{World, fingerprint, golden, refused, tiny};
use crossalign::HubErrorKind;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_needed_files_are_fetched_once() {
    let (repository, needed) =
        (tiny(), ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]);
    let bytes: usize = needed.iter().map(|file| repository.files[*file].len()).sum();
    let world = World::new(repository.clone());
    let (mut done, mut total) = (0, 0);
    let folder = world.hub().with_token("secret".to_string()).fetch(&MODEL.parse().unwrap(), |progress| {
        assert!(done <= progress.done && progress.done <= progress.total);
        assert_eq!(progress.total, bytes as u64);
        (done, total) = (progress.done, progress.total);
    });
    let folder = folder.unwrap();
    assert_eq!((done, total), (bytes as u64, bytes as u64));
    assert_eq!(fingerprint(&folder), fingerprint(&golden("transformers")));
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, needed);
    let requests = world.requests();
    assert!(!requests.iter().any(|request| request.contains("README") || request.contains(".bin")), "{requests:?}");

    assert_eq!(world.fetch(MODEL).unwrap(), folder);
    assert_eq!(world.fetch("org/tiny@main").unwrap(), folder);
    assert_eq!(world.fetch(&format!("org/tiny@{}", repository.commit)).unwrap(), folder);
    assert_eq!(world.requests(), [""; 0]);
}

#[test]
fn a_revision_is_a_tag_a_pull_request_or_a_commit() {
    let other = tiny()
        .at("refs/pr/7", "2")
        .with("tokenizer.json", std::fs::read(golden("openai").join("tokenizer.json")).unwrap());
    let world = World::of(vec![tiny(), other], Box::new(|_, answer| answer), Box::new(|_, answer| answer));
    assert!(world.fetch("org/tiny@refs/pr/7").unwrap().ends_with("2".repeat(40)));
    assert_eq!(std::fs::read_to_string(world.file("refs/refs/pr/7")).unwrap(), "2".repeat(40));
    assert!(world.fetch(&format!("org/tiny@{}", "1".repeat(40))).unwrap().ends_with("1".repeat(40)));
    assert!(!world.file("refs/main").exists(), "a commit needs no ref");
    // Files that both have are fetched once.
    assert_eq!(world.content.requests().iter().filter(|request| request.contains("model.safetensors")).count(), 1);
    refused(
        world.fetch("org/tiny@v9"),
        HubErrorKind::NotFound,
        &["org/tiny@v9", "404 RevisionNotFound", "--revision v9"],
    );
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let asked = |request: &super::Request, answer: Answer| match request.header("authorization") {
        Some("Bearer secret") => answer,
        _ => Answer::error(401, "GatedRepo"),
    };
    let world = World::with(tiny(), asked, |_, answer| answer);
    world.refuses(HubErrorKind::Denied, &["401 GatedRepo", "token"]);
    // The other host's answers are none where it sees a token (Repository::content).
    world.hub().with_token("secret".to_string()).fetch(&MODEL.parse().unwrap(), |_| ()).unwrap();
}

#[test]
fn weights_in_parts_and_open_clips_names() {
    let weights = tiny().files["model.safetensors"].clone();
    let index = json!({"weight_map": tensors(&weights)}).to_string();
    let parts = tiny().without("model.safetensors").with("model.safetensors.index.json", &*index);
    let world = World::new(parts.clone().with("model-00001-of-00001.safetensors", weights));
    // By its index a model is another one, but for its tensors.
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("transformers")));
    let world = World::new(parts);
    world.refuses(HubErrorKind::NotFound, &["model-00001-of-00001.safetensors"]);

    let world = World::new(Repository::of(&golden("open_clip")));
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("open_clip")));
    world.requests();
    world.fetch(MODEL).unwrap();
    assert_eq!(world.requests(), [""; 0], "that there is no config.json is known");
}

/// An index of all tensors in one part.
fn tensors(weights: &[u8]) -> serde_json::Map<String, serde_json::Value> {
    let tensors = safetensors::SafeTensors::deserialize(weights).unwrap();
    tensors.names().into_iter().map(|name| (name.into(), "model-00001-of-00001.safetensors".into())).collect()
}

/// `openai/clip-vit-base-patch32` has PyTorch's weights alone; the safetensors are in pull request 15, by the hub's converter.
#[test]
fn weights_that_the_hub_converted_are_found() {
    let main = tiny().without("model.safetensors");
    let converted = tiny().at("refs/pr/15", "2");
    let discussion = |number: u64, author: &str, title: &str| json!({"num": number, "title": title, "isPullRequest": true, "author": {"name": author}});
    let title = "Adding `safetensors` variant of this model";
    let page = json!({"count": 4, "start": 0, "discussions": [
        discussion(16, "somebody", title), discussion(15, "SFconvertbot", title), discussion(3, "SFconvertbot", title),
        discussion(17, "SFconvertbot", "Another thing"), {"num": 18, "title": title, "isPullRequest": true, "author": null},
    ]});
    let hub = move |request: &super::Request, answer| {
        let is_page = request.path.starts_with("/api/models/org/tiny/discussions?");
        if is_page { Answer::json(page.clone()) } else { answer }
    };
    let world = World::of(vec![main.clone(), converted], Box::new(hub), Box::new(|_, answer| answer));
    let folder = world.fetch(MODEL).unwrap();
    assert!(folder.ends_with("2".repeat(40)));
    assert_eq!(fingerprint(&folder), fingerprint(&golden("transformers")));
    world.requests();
    assert_eq!(world.fetch(MODEL).unwrap(), folder);
    assert_eq!(world.requests(), [""; 0]);
    // A revision that is named is meant.
    let error = world.fetch("org/tiny@main").unwrap_err().to_string();
    assert!(error.contains("PyTorch weights (pytorch_model.bin)"), "{error}");

    let none = |request: &super::Request, answer| {
        if request.path.contains("/discussions?") { Answer::json(json!({"discussions": []})) } else { answer }
    };
    let error = World::with(main, none, |_, answer| answer).fetch(MODEL).unwrap_err().to_string();
    assert!(error.contains("org/tiny") && error.contains("PyTorch weights (pytorch_model.bin)"), "{error}");
}

#[test]
fn another_architecture_is_refused_before_its_weights_come() {
    let world = World::new(tiny().with("config.json", r#"{"model_type": "siglip"}"#));
    let error = world.fetch(MODEL).unwrap_err().to_string();
    assert!(error.contains("SigLIP") && error.contains("config.json"), "{error}");
    assert!(!world.requests().iter().any(|request| request.contains("GET /model.safetensors")));
}

#[test]
fn processes_fetch_a_file_once() {
    let weights = AtomicUsize::new(0);
    let slowly = move |request: &super::Request, answer| {
        if request.path.contains("model.safetensors") && weights.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        answer
    };
    let world = World::with(tiny(), |_, answer| answer, slowly);
    // A lock is a process's and its files', so that two threads do for two processes.
    let folders = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| world.fetch(MODEL).unwrap()));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(fingerprint(&folders[0]), fingerprint(&folders[2]));
    assert_eq!(world.content.requests().iter().filter(|request| request.contains("model.safetensors")).count(), 1);
}

#[test]
fn an_empty_cache_gets_pythons_layout() {
    let (repository, world) = (tiny(), World::new(tiny()));
    let folder = world.fetch(MODEL).unwrap();
    assert_eq!(folder, world.file(&format!("snapshots/{}", repository.commit)));
    assert_eq!(std::fs::read_to_string(world.file("refs/main")).unwrap(), repository.commit);
    let etag = repository.etag("model.safetensors");
    assert_eq!(etag, sha256(&repository.files["model.safetensors"]));
    assert_eq!(
        folder.join("model.safetensors").read_link().unwrap(),
        std::path::PathBuf::from(format!("../../blobs/{etag}"))
    );
    let blobs = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"];
    let mut blobs = blobs.map(|file| repository.etag(file));
    blobs.sort();
    assert_eq!(world.blobs(), blobs);
    assert!(world.file(&format!(".no_exist/{}/processor_config.json", repository.commit)).is_file());
    assert!(world.cache.path().join(format!(".locks/models--org--tiny/{etag}.lock")).is_file());
}

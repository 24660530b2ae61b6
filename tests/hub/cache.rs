//! Models that are in the cache, as Python leaves them there.

use super::server::{MODEL, Repository};
use super::{World, fingerprint, golden, refused, tiny};
use crossalign::HubErrorKind::{NoAnswer, Offline};
use crossalign::hub::Hub;
use std::path::PathBuf;

/// Lays a revision's files as Python does, without those that it lacks.
fn lay(world: &World, repository: &Repository, files: &[&str]) -> PathBuf {
    let folder = world.file(&format!("snapshots/{}", repository.commit));
    for path in [&folder, &world.file("blobs"), world.file("refs").join(repository.revision).parent().unwrap()] {
        std::fs::create_dir_all(path).unwrap();
    }
    for file in files {
        let etag = repository.etag(file);
        std::fs::write(world.file("blobs").join(&etag), &repository.files[*file]).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{etag}"), folder.join(file)).unwrap();
    }
    std::fs::write(world.file("refs").join(repository.revision), &repository.commit).unwrap();
    folder
}

const ALL: [&str; 4] = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"];

fn offline(world: &World) -> Hub {
    world.hub().with_offline(true)
}

#[test]
fn offline_the_cache_has_to_do() {
    let world = World::new(tiny());
    let name = MODEL.parse().unwrap();
    let cache = world.cache.path().to_str().unwrap().to_string();
    refused(offline(&world).fetch(&name, |_| ()), Offline, &["HF_HUB_OFFLINE", &cache, "no such folder"]);
    let folder = lay(&world, &tiny(), &ALL);
    assert_eq!(offline(&world).fetch(&name, |_| ()).unwrap(), folder);
    assert_eq!(fingerprint(&folder), fingerprint(&golden("transformers")));
    let commit = format!("org/tiny@{}", tiny().commit).parse().unwrap();
    assert_eq!(offline(&world).fetch(&commit, |_| ()).unwrap(), folder);
    refused(offline(&world).fetch(&"org/tiny@other".parse().unwrap(), |_| ()), Offline, &["org/tiny@other"]);
    assert_eq!(world.requests(), [""; 0]);
}

/// Without these a model's results would be others.
#[test]
fn a_cache_without_weights_or_preprocessing_is_not_whole() {
    for missing in ["model.safetensors", "preprocessor_config.json"] {
        let world = World::new(tiny());
        lay(&world, &tiny(), &ALL.into_iter().filter(|file| *file != missing).collect::<Vec<_>>());
        refused(offline(&world).fetch(&MODEL.parse().unwrap(), |_| ()), Offline, &[]);
        // What is missing is fetched, and nothing else.
        let folder = world.fetch(MODEL).unwrap();
        assert_eq!(fingerprint(&folder), fingerprint(&golden("transformers")));
        let requests = world.requests();
        assert!(requests.iter().any(|request| request.contains(missing)), "{requests:?}");
        assert!(!requests.iter().any(|request| request.contains("/tokenizer.json")), "{requests:?}");
    }
}

#[test]
fn a_blob_that_was_removed_is_fetched_again() {
    let world = World::new(tiny());
    let folder = world.fetch(MODEL).unwrap();
    std::fs::remove_file(folder.join("model.safetensors").canonicalize().unwrap()).unwrap();
    refused(offline(&world).fetch(&MODEL.parse().unwrap(), |_| ()), Offline, &[]);
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("transformers")));
}

/// What `hf download` leaves does not tell that nothing is missing: the hub does, once; and without it the cache has to do.
#[test]
fn the_hub_is_asked_once_what_else_there_is() {
    let world = World::new(tiny());
    let folder = lay(&world, &tiny(), &ALL);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = world.hub().with_endpoint(format!("http://{closed}"));
    assert_eq!(down.fetch(&MODEL.parse().unwrap(), |_| ()).unwrap(), folder);
    refused(down.fetch(&"org/tiny@v2".parse().unwrap(), |_| ()), NoAnswer, &[]);
    assert_eq!(world.fetch(MODEL).unwrap(), folder);
    assert_eq!(world.requests(), ["GET /api/models/org/tiny/revision/main"]);
    world.fetch(MODEL).unwrap();
    assert_eq!(world.requests(), [""; 0]);
}

#[test]
fn weights_that_are_there_go_before_others() {
    // open_clip leaves its own files; the hub also has transformers'.
    let both = Repository::of(&golden("open_clip")).with("model.safetensors", vec![0; 30_000]);
    let world = World::new(both.clone());
    let folder = lay(&world, &both, &["open_clip_config.json", "open_clip_model.safetensors"]);
    assert_eq!(world.fetch(MODEL).unwrap(), folder);
    assert_eq!(fingerprint(&folder), fingerprint(&golden("open_clip")));
}

#[test]
fn a_list_of_the_cache() {
    let world = World::new(tiny());
    assert!(world.hub().models().unwrap().is_empty());
    assert!(world.hub().with_cache("/nowhere").models().unwrap().is_empty());
    lay(&world, &tiny(), &ALL);
    lay(&world, &tiny().at("refs/pr/3", "2"), &["config.json"]);
    let third = tiny().at("v1", "3").with("config.json", r#"{"model_type": "siglip"}"#);
    lay(&world, &third, &ALL);
    std::fs::remove_file(world.file("refs/v1")).unwrap();
    for other in ["datasets--org--pictures", "models--a", "models--..--x", ".locks", "models--org--empty/snapshots"] {
        std::fs::create_dir_all(world.cache.path().join(other)).unwrap();
    }
    let models = world.hub().models().unwrap();
    let names: Vec<_> = models.iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["org/tiny", &format!("org/tiny@{}", "3".repeat(40)), "org/tiny@refs/pr/3"]);
    let bytes: usize = ALL.iter().map(|file| tiny().files[*file].len()).sum();
    assert_eq!(models[0].bytes, bytes as u64);
    assert_eq!(models[0].config.as_ref().unwrap().image_size, 24);
    assert!(models[1].config.as_ref().unwrap_err().to_string().contains("SigLIP"));
    assert!(models[2].config.as_ref().unwrap_err().to_string().contains("model.safetensors"));
    assert_eq!(models[2].commit, "2".repeat(40));
}

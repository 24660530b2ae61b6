//! Models by their names on the hub: what is fetched from it, what the cache has, and what a hub may do wrong.

mod cache;
mod command;
mod faults;
mod fetch;
mod python;
mod server;

use crossalign::hub::Hub;
use crossalign::{Error, HubErrorKind, Model, ModelOptions};
use server::{Answer, MODEL, Repository, Request, Server};
use std::path::{Path, PathBuf};

fn golden(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(model)
}

/// The tiny model in transformers' layout.
fn tiny() -> Repository {
    Repository::of(&golden("transformers"))
}

/// A hub, the host of its large files, and a user's empty cache.
struct World {
    hub: Server,
    content: Server,
    cache: tempfile::TempDir,
}

type Change = dyn Fn(&Request, Answer) -> Answer + Send + Sync;

impl World {
    fn new(repository: Repository) -> Self {
        Self::with(repository, |_, answer| answer, |_, answer| answer)
    }

    /// A world in which the answers of the hub and of the other host are changed.
    fn with(
        repository: Repository,
        hub: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
        content: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::of(vec![repository], Box::new(hub), Box::new(content))
    }

    /// A world whose hub has several revisions.
    fn of(revisions: Vec<Repository>, hub: Box<Change>, content: Box<Change>) -> Self {
        let files = revisions.clone();
        let content = Server::start(move |request| {
            let answers = files.iter().map(|revision| revision.content(request));
            content(request, answers.min_by_key(|answer| answer.status).unwrap())
        });
        let url = content.url.clone();
        let hub = Server::start(move |request| {
            let answers = revisions.iter().map(|revision| revision.answer(request, &url));
            hub(request, answers.min_by_key(|answer| answer.status).unwrap())
        });
        Self { hub, content, cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        let hub = Hub::from_env().unwrap().with_cache(self.cache.path()).with_endpoint(&*self.hub.url);
        hub.with_token(None).with_offline(false)
    }

    fn fetch(&self, name: &str) -> Result<PathBuf, Error> {
        self.hub().fetch(&name.parse().unwrap(), |_| ())
    }

    /// Fetches and expects an error of a kind, which has all these words and names the model, the cache and what helps.
    #[track_caller]
    fn refuses(&self, kind: HubErrorKind, words: &[&str]) {
        refused(self.fetch(MODEL), kind, &[words, &[self.cache.path().to_str().unwrap()]].concat());
    }

    /// The requests to both hosts since the last call.
    fn requests(&self) -> Vec<String> {
        [self.hub.requests(), self.content.requests()].concat()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.cache.path().join("models--org--tiny").join(path)
    }

    /// The blobs and what is left of them.
    fn blobs(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.file("blobs")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn refused(result: Result<PathBuf, Error>, kind: HubErrorKind, words: &[&str]) {
    let error = result.expect_err("fetched");
    let message = error.to_string();
    assert!(matches!(error, Error::Hub { kind: found, .. } if found == kind), "{kind:?}: {error:?}");
    for word in [words, &[MODEL, "hf download org/tiny", "HF_TOKEN", "HF_ENDPOINT", "crossalign models"]].concat() {
        assert!(message.contains(word), "{message} does not say {word}");
    }
}

/// What tells models apart: config, tensors' names and shapes, and their first bytes.
fn fingerprint(folder: &Path) -> String {
    let options = ModelOptions::default().with_device("cpu".parse().unwrap()).with_threads(1);
    Model::load(folder, &options).unwrap().fingerprint().to_string()
}

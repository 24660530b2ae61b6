//! Models by their names on the hub: which files of theirs are needed, and whether the cache has them.

use super::source::Source;
use super::{bpe, checkpoint, config, foreign, tokenizer};
use crate::error::{Error, HubErrorKind, Result};
use crate::hub::{Client, Downloads, Hub, Listing, MAIN, Name, Progress, Repository};
use serde_json::Value;
use std::path::{Path, PathBuf};

impl Name {
    /// The name that is given in place of a path, if it has the form of one. A path that exists goes before it.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        path.to_str().filter(|_| !path.exists())?.parse().ok()
    }
}

impl Hub {
    /// The folder of a model's files, which are fetched where the cache lacks them: the weights, the configs and the
    /// tokenizer, nothing else. `progress` is called as they come.
    ///
    /// Where all are in the cache the hub is not asked, also for a branch: `hf download ORG/NAME` brings its newest commit.
    /// Where the hub does not answer, what is in the cache has to do. A model that has PyTorch's weights only is taken from
    /// the pull request by which the hub's own converter offers it as safetensors, unless a revision is named; so
    /// `openai/clip-vit-base-patch32` is revision `refs/pr/15` of it. An interrupted call goes on where it stopped.
    ///
    /// # Errors
    /// [`Error::Hub`] when the model is not in the cache and the hub does not answer or has no such model, wants a token, or
    /// sends something else than it said; when the cache cannot be written; when the model has another architecture or
    /// format.
    ///
    /// ```no_run
    /// use crossalign::hub::{Hub, Name};
    /// use crossalign::{Model, ModelOptions};
    /// let name: Name = "openai/clip-vit-base-patch32".parse()?;
    /// let folder = Hub::from_env()?.fetch(&name, |progress| println!("{} of {}", progress.done, progress.total))?;
    /// let model = Model::load(folder, &ModelOptions::default())?;
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn fetch(&self, name: &Name, mut progress: impl FnMut(Progress<'_>)) -> Result<PathBuf> {
        let repository = Repository::new(self, name);
        if let Some(folder) = find(&repository, name, is_complete) {
            return Ok(folder);
        }
        let fetched = Client::new(self, name).and_then(|client| fetch(&client, &repository, &mut progress));
        fetched.or_else(|error| match find(&repository, name, is_usable) {
            Some(folder) if error.is_without_hub() => Ok(folder),
            _ => Err(error),
        })
    }
}

/// The cached commit that a name means, where it passes `is_there`; or else the one that converts it to safetensors.
fn find(repository: &Repository, name: &Name, is_there: fn(&Repository, &str) -> bool) -> Option<PathBuf> {
    let commit = repository.commit(name.revision().unwrap_or(MAIN))?;
    if is_there(repository, &commit) {
        return Some(repository.snapshot(&commit));
    }
    if name.revision().is_some() || !repository.lacks(&commit, checkpoint::USUAL) {
        return None;
    }
    let conversions = repository.refs().into_iter().filter(|(revision, _)| revision.starts_with("refs/pr/"));
    let mut conversions = conversions.filter(|(_, commit)| is_there(repository, commit));
    let (_, commit) = conversions.next()?;
    // Of several the hub knows which one is its converter's.
    conversions.next().is_none().then(|| repository.snapshot(&commit))
}

/// Whether the cache has all files of a commit that loading would look for, or knows that there are none.
fn is_complete(repository: &Repository, commit: &str) -> bool {
    let folder = repository.snapshot(commit);
    let known = |file: &&str| folder.join(file).is_file() || repository.lacks(commit, file);
    has_weights(repository, commit) && beside_weights(|file| folder.join(file).is_file()).iter().all(known)
}

/// Whether the cache has what shows in results: without it views could be normalised otherwise than the model's are.
fn is_usable(repository: &Repository, commit: &str) -> bool {
    let folder = repository.snapshot(commit);
    has_weights(repository, commit) && config::PREPROCESSING.iter().any(|file| folder.join(file).is_file())
}

/// Whether the cache has a commit's weights.
fn has_weights(repository: &Repository, commit: &str) -> bool {
    let files = checkpoint::files(&Source::Folder(repository.snapshot(commit), None));
    files.is_ok_and(|files| files.iter().all(|file| file.is_file()))
}

/// The files that are looked for beside the weights, in a folder that has some of them.
fn beside_weights(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let older: &[&str] = if has(tokenizer::NAME) { &[] } else { &bpe::FILES };
    [&[config::TRANSFORMERS], &config::PREPROCESSING[..], &[tokenizer::NAME], older].concat()
}

fn fetch(client: &Client<'_>, repository: &Repository, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf> {
    let name = client.name();
    let revision = name.revision().unwrap_or(MAIN);
    let Listing { commit, files } = client.listing(revision)?;
    let folder = repository.snapshot(&commit);
    // Of several weights those that the cache has already.
    let cached: Vec<String> = files.iter().filter(|file| folder.join(file).is_file()).cloned().collect();
    let path = Path::new(name.model());
    let weights = match checkpoint::choose(path, &cached).or_else(|_| checkpoint::choose(path, &files)) {
        Err(error) if name.revision().is_none() => {
            // Mirrors may not know: what the branch lacks is then the better answer.
            let Ok(Some(conversion)) = client.conversion() else { return Err(error) };
            // So that the cache tells by itself where to look.
            repository.set_lacking(&commit, checkpoint::USUAL);
            repository.set_ref(revision, &commit)?;
            let conversion = name.at(&conversion);
            return fetch(&Client::new(client.hub(), &conversion)?, repository, progress);
        }
        weights => weights?,
    };
    let has = |file: &str| files.iter().any(|listed| listed == file);
    let (beside, absent): (Vec<&str>, Vec<&str>) = beside_weights(has).into_iter().partition(|file| has(file));
    let mut downloads = Downloads::new(client, repository, &commit, progress);
    let (small, large) = (downloads.plan(&beside)?, downloads.plan(&[&weights])?);
    downloads.fetch(&small)?;
    let source = Source::Folder(folder.clone(), None);
    check_model_type(&source, &beside)?; // before gigabytes come
    downloads.fetch(&large)?;
    let parts = checkpoint::parts(&source, &weights)?;
    if let Some(part) = parts.iter().find(|part| !has(part)) {
        let found = format!("{weights}, which names {part:?}, a file that the hub does not list");
        return Err(client.error(HubErrorKind::NotFound, &found, "all parts", None));
    }
    let parts = downloads.plan(&parts.iter().map(String::as_str).collect::<Vec<_>>())?;
    downloads.fetch(&parts)?;
    absent.iter().for_each(|file| repository.set_lacking(&commit, file));
    if revision != commit {
        repository.set_ref(revision, &commit)?;
    }
    Ok(folder)
}

/// Refuses a model of another architecture by the only config that it has.
fn check_model_type(source: &Source, files: &[&str]) -> Result<()> {
    if files.iter().filter(|file| config::MODELS.contains(file)).ne([&config::TRANSFORMERS]) {
        return Ok(());
    }
    let path = source.path(config::TRANSFORMERS);
    let config: Value = serde_json::from_slice(&source.read(config::TRANSFORMERS)?)
        .map_err(|error| Error::parse(&path, "config", error, "a JSON object"))?;
    foreign::check_model_type(&path, config.get("model_type"), "clip")
}

//! Hugging Face's hub: a model's files by the model's name, kept in the cache that Python's `huggingface_hub` uses.
//!
//! This room knows names, the cache and requests; which of a model's files are needed, [`Hub::fetch`] asks the model's room.
//! `hf-hub` is not used: version 0.5 installs a file without comparing its size, follows relative redirects without end, takes
//! names of files from the server's headers as they are, and panics on some answers; version 1.0 brings 160 crates, this 14.

mod cache;
mod client;
mod download;
mod name;

use crate::error::{Error, Result};
use crate::options::with_fields;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub(crate) use cache::Repository;
pub(crate) use client::{Client, Listing, MAIN};
pub(crate) use download::Downloads;
pub use name::Name;

/// The hub that is asked where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// A hub, and the folder that its files are kept in.
///
/// The cache is the one that Python's `huggingface_hub` keeps: what is in it is not fetched again, and Python finds what was
/// fetched here.
///
/// ```
/// use crossalign::hub::Hub;
/// let hub = Hub::from_env()?.with_cache("/data/models").with_offline(true);
/// assert_eq!(hub.cache.to_str(), Some("/data/models"));
/// # Ok::<(), crossalign::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Hub {
    /// The cache's folder, with a folder `models--ORG--NAME` for each model.
    pub cache: PathBuf,
    /// The hub's address, without a path.
    pub endpoint: String,
    /// The user's token, which only the endpoint sees.
    pub token: Option<String>,
    /// Use the cache alone.
    pub offline: bool,
}

with_fields!(Hub:
    with_cache(cache: impl Into<PathBuf>),
    with_endpoint(endpoint: impl Into<String>),
    with_token(token: impl Into<Option<String>>),
    with_offline(offline: bool),
);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, endpoint, token, offline } = self;
        let token = token.as_ref().map(|_| "…"); // a secret
        let mut hub = f.debug_struct("Hub");
        hub.field("cache", cache).field("endpoint", endpoint).field("token", &token).field("offline", offline).finish()
    }
}

/// How far a model's files are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file that is being fetched.
    pub file: &'a str,
    /// Bytes that are there, of all files.
    pub done: u64,
    /// Bytes of all files that were not in the cache. It grows once where the weights are in parts, which an index tells.
    pub total: u64,
}

impl Hub {
    /// The hub that the environment describes, as to Python's `huggingface_hub`: `HF_ENDPOINT`; the cache `HF_HUB_CACHE`, or
    /// `hub` in `HF_HOME`, which is `~/.cache/huggingface` by default (with `XDG_CACHE_HOME` in place of `~/.cache`); the token
    /// `HF_TOKEN`, or in the file `HF_TOKEN_PATH`, or `token` in `HF_HOME`; `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When neither these variables nor the user's home tell where the cache is.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()), std::env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Result<Self> {
        let path = |name: &str| variable(name).map(|value| expand_user(value.into(), user.as_ref()));
        let default = || {
            let cache = path("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
            cache.map(|cache| cache.join("huggingface"))
        };
        let home = path("HF_HOME").or_else(default);
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| Some(home.as_ref()?.join("hub")));
        let cache = cache.ok_or_else(|| Error::argument("HF_HOME", "not set, nor the user's home", "a folder"))?;
        let text = |name: &str| variable(name)?.into_string().ok().map(|text| text.trim().to_string());
        let file = || {
            let path = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")))?;
            std::fs::read_to_string(path).ok().map(|token| token.trim().to_string())
        };
        let is_on = |name: &str| {
            text(name).is_some_and(|text| ["1", "ON", "YES", "TRUE"].contains(&&*text.to_ascii_uppercase()))
        };
        Ok(Self {
            cache,
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').into(),
            token: text("HF_TOKEN").or_else(file).filter(|token| !token.is_empty()),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
        })
    }
}

/// Python's `expanduser`, of the user's own home.
fn expand_user(path: PathBuf, user: Option<&PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)], user: Option<&str>) -> Result<Hub> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Hub::from_variables(variable, user.map(PathBuf::from))
    }

    #[test]
    fn the_environment_is_read_as_python_reads_it() {
        for (variables, cache) in [
            (&[][..], "/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/x")], "/me/hf/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old"),
            (&[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/c"),
        ] {
            assert_eq!(hub(variables, Some("/me")).unwrap().cache, PathBuf::from(cache), "{variables:?}");
        }
        let plain = hub(&[], Some("/me")).unwrap();
        assert_eq!((&*plain.endpoint, plain.token, plain.offline), ("https://huggingface.co", None, false));
        let set = [("HF_ENDPOINT", "http://hub/"), ("HF_TOKEN", " t\n"), ("HF_HUB_OFFLINE", "yes")];
        let set = hub(&set, Some("/me")).unwrap();
        assert_eq!((&*set.endpoint, set.token.as_deref(), set.offline), ("http://hub", Some("t"), true));
        assert!(!format!("{:?}", set.with_token("secret".to_string())).contains("secret"));
        assert!(!hub(&[("HF_HUB_OFFLINE", "0")], Some("/me")).unwrap().offline);
        assert!(hub(&[], None).unwrap_err().to_string().contains("HF_HOME"));
        assert!(hub(&[("HF_HUB_CACHE", "/c")], None).is_ok());
    }

    #[test]
    fn a_token_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "in the home\n").unwrap();
        std::fs::write(folder.path().join("other"), "elsewhere").unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let other = folder.path().join("other");
        let token = |more: &[(&str, &str)]| hub(&[&[home], more].concat(), None).unwrap().token;
        assert_eq!(token(&[]).as_deref(), Some("in the home"));
        assert_eq!(token(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).as_deref(), Some("elsewhere"));
        assert_eq!(token(&[("HF_TOKEN", "own")]).as_deref(), Some("own"));
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
    }
}

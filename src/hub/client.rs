//! Requests to a hub, and what its answers mean.

use super::cache::is_commit;
use super::{Hub, Name};
use crate::error::{Error, HubErrorKind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use ureq::http::{Request, Response, StatusCode};
use ureq::{Agent, Body};

/// How long a connection, and each read of it, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits before a request is made again that had no answer.
const WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// As browsers have it, about.
const MAX_REDIRECTS: usize = 10;
/// Bounds a list of files: that of a model with 100,000 files is smaller.
const MAX_JSON: u64 = 32 << 20;
/// The branch that is meant where no revision is named.
pub(crate) const MAIN: &str = "main";
/// Who converts weights to safetensors on the hub, and how it calls that (transformers, `safetensors_conversion.py`).
const CONVERTER: &str = "SFconvertbot";
const CONVERSION: &str = "Adding `safetensors` variant of this model";

/// Makes requests for one model.
pub(crate) struct Client<'a> {
    hub: &'a Hub,
    name: &'a Name,
    agent: Agent,
}

/// A revision's files.
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// Their names: of those in no folder, of letters that need no quoting in paths and URLs, as all that a model reads are.
    pub(crate) files: Vec<String>,
}

/// What the hub says of a file.
pub(crate) struct Entry {
    /// Names its content: of a large file its SHA-256.
    pub(super) etag: String,
    /// In bytes.
    pub(super) size: u64,
}

impl<'a> Client<'a> {
    /// # Errors
    /// When the hub must not be asked.
    pub(crate) fn new(hub: &'a Hub, name: &'a Name) -> Result<Self> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0) // followed here, as the token must not go to other hosts
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .accept_encoding("identity") // sizes are of the files, not of what they are packed in
            .user_agent(concat!("crossalign/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let client = Self { hub, name, agent };
        if hub.offline {
            return Err(client.error(
                HubErrorKind::Offline,
                "HF_HUB_OFFLINE is set",
                "a model that the cache has",
                None,
            ));
        }
        Ok(client)
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub
    }

    pub(crate) fn name(&self) -> &Name {
        self.name
    }

    /// The files of a revision.
    pub(crate) fn listing(&self, revision: &str) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Model {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.hub.endpoint, self.name.model());
        let Model { sha: commit, siblings } = self.json(&url)?;
        if !is_commit(&commit) {
            return Err(self.error(HubErrorKind::Answer, &format!("the commit {commit:?} from {url}"), "a hash", None));
        }
        let files = siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(Listing { commit, files: files.filter(|file| is_plain(file)).collect() })
    }

    /// The pull request by which the hub's own converter offers the model's weights as safetensors, where there is one.
    pub(crate) fn conversion(&self) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Page {
            discussions: Vec<Discussion>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Discussion {
            num: u64,
            title: String,
            is_pull_request: bool,
            author: Option<Author>,
        }
        #[derive(Deserialize)]
        struct Author {
            name: String,
        }
        let (endpoint, model) = (&self.hub.endpoint, self.name.model());
        let url = format!("{endpoint}/api/models/{model}/discussions?type=pull_request&author={CONVERTER}&p=0");
        let page: Page = self.json(&url)?;
        let is_conversion = |discussion: &&Discussion| {
            let author = discussion.author.as_ref().is_some_and(|author| author.name == CONVERTER);
            discussion.is_pull_request && discussion.title == CONVERSION && author
        };
        let newest = page.discussions.iter().filter(is_conversion).map(|discussion| discussion.num).max();
        Ok(newest.map(|number| format!("refs/pr/{number}")))
    }

    fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T> {
        self.again(|| {
            let mut answer = self.send("GET", url, None, |_| false)?;
            let bytes = answer.body_mut().with_config().limit(MAX_JSON).read_to_vec();
            let bytes = bytes.map_err(|error| self.no_answer(url, error))?;
            serde_json::from_slice(&bytes).map_err(|error| {
                let found = format!("{error} in the answer of {url}");
                self.error(HubErrorKind::Answer, &found, "the JSON of the hub's API", Some(error.into()))
            })
        })
    }

    /// What the hub says of a file of a commit.
    pub(super) fn entry(&self, commit: &str, file: &str) -> Result<Entry> {
        let url = self.url(commit, file);
        self.again(|| {
            // A large file is a link to another host, which does not know the hub's name for it: the link tells it.
            let answer = self.send("HEAD", &url, None, |answer| linked(answer).is_some())?;
            if let Some(entry) = linked(&answer) {
                return Ok(entry);
            }
            let entry = header(&answer, "etag").zip(header(&answer, "content-length"));
            let entry =
                entry.and_then(|(etag, size)| Some(Entry { etag: plain_etag(etag)?, size: size.parse().ok()? }));
            entry.ok_or_else(|| {
                let found = format!("no ETag that names a file, or no size, from {url}");
                self.error(HubErrorKind::Answer, &found, "both", None)
            })
        })
    }

    /// A file's content, from a byte on.
    pub(super) fn content(&self, commit: &str, file: &str, from: u64) -> Result<Response<Body>> {
        self.send("GET", &self.url(commit, file), (from > 0).then_some(from), |_| false)
    }

    /// Where a file of a commit is.
    pub(super) fn url(&self, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.hub.endpoint, self.name.model())
    }

    /// Does what makes a request, again where it had no answer.
    fn again<T>(&self, mut request: impl FnMut() -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            match request() {
                Err(error) if error.is_no_answer() && self.wait(failures) => failures += 1,
                result => return result,
            }
        }
    }

    /// Waits before the next try after some tries that failed; whether there is one.
    pub(super) fn wait(&self, failures: usize) -> bool {
        WAITS.get(failures).map(|wait| std::thread::sleep(*wait)).is_some()
    }

    /// The answer to a request: what redirects lead to, or the first one that is `enough`.
    fn send(
        &self,
        method: &str,
        url: &str,
        from: Option<u64>,
        enough: impl Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>> {
        let mut url = url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder().method(method).uri(&url);
            if let Some(from) = from {
                request = request.header("range", format!("bytes={from}-"));
            }
            // The token is the endpoint's: the hosts of large files get links that are signed.
            if let Some(token) = self.hub.token.as_ref().filter(|_| origin(&url) == origin(&self.hub.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.body(()).map_err(|error| {
                let expected = "an address in HF_ENDPOINT, and a token of plain letters";
                self.error(HubErrorKind::Answer, &format!("{error} for {url}"), expected, Some(error.into()))
            })?;
            let answer = self.agent.run(request).map_err(|error| self.no_answer(&url, error))?;
            match (answer.status(), header(&answer, "location").and_then(|to| resolve(&url, to))) {
                (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => return Ok(answer),
                (status, Some(_)) if status.is_redirection() && enough(&answer) => return Ok(answer),
                (status, Some(to)) if status.is_redirection() => url = to,
                (status, _) => return Err(self.refused(status, &url, &answer)),
            }
        }
        Err(self.error(HubErrorKind::Answer, &format!("more than {MAX_REDIRECTS} redirects"), "a file", None))
    }

    /// The error of an answer that is none.
    fn refused(&self, status: StatusCode, url: &str, answer: &Response<Body>) -> Error {
        // Such as RepoNotFound, RevisionNotFound, GatedRepo.
        let code = header(answer, "x-error-code").filter(|code| !code.is_empty());
        let code = code.map(|code| format!(" {code}")).unwrap_or_default();
        let found = format!("{}{code} from {}", status.as_u16(), without_query(url));
        let model = self.name.model();
        let (kind, expected) = match status.as_u16() {
            401 if self.hub.token.is_none() => (
                HubErrorKind::Denied,
                // So the hub also answers where there is no such model, as it does not tell what is private.
                "a model's folder, a name that the hub has, or, where it is private, a token of yours".into(),
            ),
            401 => (HubErrorKind::Denied, "a name that the hub has, and a token that may read it".into()),
            403 => (
                HubErrorKind::Denied,
                format!("a token that may read it: {}/{model} says what its owner asks for", self.hub.endpoint),
            ),
            404 => (HubErrorKind::NotFound, "a model's folder, or a name and a revision that the hub has".into()),
            408 | 429 | 500.. => (HubErrorKind::NoAnswer, "an answer".into()),
            _ => (HubErrorKind::Answer, "a file".into()),
        };
        self.error(kind, &found, &expected, None)
    }

    /// The error of a request without an answer.
    pub(super) fn no_answer(&self, url: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let source = source.into();
        self.error(HubErrorKind::NoAnswer, &format!("{source} from {}", without_query(url)), "an answer", Some(source))
    }

    /// An error that says where the model was looked for, and what helps.
    pub(crate) fn error(
        &self,
        kind: HubErrorKind,
        found: &str,
        expected: &str,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let (model, cache) = (self.name.model(), self.hub.cache.display());
        let revision = self.name.revision().map(|revision| format!(" --revision {revision}")).unwrap_or_default();
        Error::Hub {
            model: self.name.to_string(),
            kind,
            found: format!("no such folder, none that is whole in the cache {cache}, and {found}"),
            expected: format!(
                "{expected}; what helps: `hf download {model}{revision}`, `export HF_TOKEN=…` (or HF_ENDPOINT=… for \
                 another hub), `crossalign models` for what is in the cache"
            ),
            source,
        }
    }
}

impl Error {
    /// Whether a hub gave no answer, so that it may give one later.
    pub(crate) fn is_no_answer(&self) -> bool {
        matches!(self, Self::Hub { kind: HubErrorKind::NoAnswer, .. })
    }

    /// Whether no hub could be asked, so that the cache has to do.
    pub(crate) fn is_without_hub(&self) -> bool {
        self.is_no_answer() || matches!(self, Self::Hub { kind: HubErrorKind::Offline, .. })
    }
}

/// A header's text: letters that may be printed, or none.
pub(super) fn header<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// What a link to a large file says of it.
fn linked(answer: &Response<Body>) -> Option<Entry> {
    let etag = plain_etag(header(answer, "x-linked-etag")?)?;
    Some(Entry { etag, size: header(answer, "x-linked-size")?.parse().ok()? })
}

/// An ETag as the cache names files by it, like huggingface_hub's `_normalize_etag`; none that may not name one.
fn plain_etag(etag: &str) -> Option<String> {
    Some(etag.trim_start_matches("W/").trim_matches('"')).filter(|etag| is_plain(etag)).map(str::to_string)
}

/// Whether a server's text may name a file.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.len() <= 200 && text.bytes().all(plain)
}

/// The scheme and the host of a URL, with its port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    &url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end)]
}

/// A URL as messages have it: without a link's signature.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// Where a redirect leads; none to what is not fetched by HTTP.
fn resolve(url: &str, location: &str) -> Option<String> {
    let scheme = url.split_once("://")?.0;
    if location.starts_with("https://") || (location.starts_with("http://") && scheme == "http") {
        return Some(location.into());
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    location.starts_with('/').then(|| format!("{}{location}", origin(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_http_alone_and_never_from_https_to_http() {
        for (url, location, to) in [
            ("http://a:1/b/c?d", "/e?f", Some("http://a:1/e?f")),
            ("https://a/b", "//c/d", Some("https://c/d")),
            ("https://a/b", "https://c/d", Some("https://c/d")),
            ("http://a/b", "http://c/d", Some("http://c/d")),
            ("http://a", "/b", Some("http://a/b")),
            ("https://a/b", "http://c/d", None),
            ("https://a/b", "file:///etc/passwd", None),
            ("https://a/b", "", None),
        ] {
            assert_eq!(resolve(url, location).as_deref(), to, "{url} to {location}");
        }
        assert_eq!(origin("http://a?b"), "http://a");
        assert_ne!(origin("http://a.b"), origin("http://a"));
    }

    #[test]
    fn only_plain_etags_name_files() {
        for (etag, name) in [
            ("\"abc-1\"", Some("abc-1")),
            ("W/\"abc\"", Some("abc")),
            ("abc", Some("abc")),
            ("\"\"", None),
            ("\"../x\"", None),
            ("\"..\"", None),
            ("\"a/b\"", None),
            ("\"a b\"", None),
        ] {
            assert_eq!(plain_etag(etag).as_deref(), name, "{etag}");
        }
    }
}

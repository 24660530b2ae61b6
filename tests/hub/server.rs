//! A hub on 127.0.0.1: its API as far as models are fetched by it, and faults on demand.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Files of at least so many bytes are on another host, as the hub's large files are.
const LARGE: usize = 20_000;

pub struct Request {
    pub method: String,
    pub path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for.
    pub fn from(&self) -> Option<usize> {
        self.header("range").map(|range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let first = lines.next()?;
        let mut words = first.split(' ').map(str::to_string);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_string()))
        });
        Some(Self { method, path, headers: headers.collect() })
    }
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The connection breaks after so many bytes of the body.
    pub cut: Option<usize>,
}

impl Answer {
    pub fn new(status: u16, headers: &[(&'static str, String)], body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: headers.to_vec(), body: body.into(), cut: None }
    }

    pub fn json(body: Value) -> Self {
        Self::new(200, &[], body.to_string())
    }

    pub fn error(status: u16, code: &str) -> Self {
        Self::new(status, &[("X-Error-Code", code.into())], "{}")
    }

    /// Another value of a header; none: not sent.
    pub fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// A file's content, or the part of it that is asked for.
    pub fn content(request: &Request, content: &[u8]) -> Self {
        let length = |bytes: &[u8]| ("Content-Length", bytes.len().to_string());
        match request.from() {
            None => Self::new(200, &[length(content)], content),
            Some(from) if from < content.len() => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                Self::new(206, &[length(&content[from..]), ("Content-Range", range)], &content[from..])
            }
            Some(_) => Self::new(416, &[], ""),
        }
    }

    fn write(self, mut stream: &TcpStream, is_head: bool) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} -\r\nConnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "\r\n")?;
        if !is_head {
            stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len()).min(self.body.len())])?;
        }
        stream.flush()
    }
}

/// Serves until the process ends.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (answer, log) = (Arc::new(answer), requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    let Some(request) = Request::read(&stream) else { return };
                    let range = request.from().map(|from| format!(" {from}")).unwrap_or_default();
                    log.lock().unwrap().push(format!("{} {}{range}", request.method, request.path));
                    // The client may have had enough.
                    let _ = answer(&request).write(&stream, request.method == "HEAD");
                });
            }
        });
        Self { url, requests }
    }

    /// The requests since the last call, as `METHOD PATH`, and the first byte where not all are asked for.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// A model's revision on the hub.
#[derive(Clone)]
pub struct Repository {
    pub revision: &'static str,
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

pub const MODEL: &str = "org/tiny";

impl Repository {
    /// The branch `main` with the files of a folder, and some that no model is read from.
    pub fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().unwrap() != "expected" {
                files.insert(path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read(path).unwrap());
            }
        }
        for other in
            ["README.md", "pytorch_model.bin", "flax_model.msgpack", "onnx/model.onnx", "vocab.json", "merges.txt"]
        {
            files.insert(other.into(), b"not needed".to_vec());
        }
        Self { revision: "main", commit: "1".repeat(40), files }
    }

    pub fn at(mut self, revision: &'static str, digit: &str) -> Self {
        (self.revision, self.commit) = (revision, digit.repeat(40));
        self
    }

    pub fn with(mut self, file: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(file.into(), content.into());
        self
    }

    pub fn without(mut self, file: &str) -> Self {
        self.files.remove(file).unwrap();
        self
    }

    pub fn etag(&self, file: &str) -> String {
        let hash = sha256(&self.files[file]);
        // Of small files the hub has git's hash, which is shorter.
        if self.files[file].len() < LARGE { hash[..40].into() } else { hash }
    }

    /// What the hub answers: small files behind a redirect on the same host, large ones on the host `content`.
    pub fn answer(&self, request: &Request, content: &str) -> Answer {
        let Self { revision, commit, files } = self;
        let path = request.path.split('?').next().unwrap();
        if let Some(asked) = path.strip_prefix(&format!("/api/models/{MODEL}/revision/")) {
            if asked != commit && asked != revision.replace('/', "%2F") {
                return Answer::error(404, "RevisionNotFound");
            }
            let siblings: Vec<_> = files.keys().map(|file| json!({"rfilename": file})).collect();
            return Answer::json(json!({"id": MODEL, "modelId": MODEL, "sha": commit, "siblings": siblings}));
        }
        // What Python lists files by.
        if path == format!("/api/models/{MODEL}/tree/{commit}") {
            return Answer::json(files.iter().map(|(file, bytes)| self.leaf(file, bytes.len())).collect());
        }
        let resolve = [commit.as_str(), revision].map(|revision| format!("/{MODEL}/resolve/{revision}/"));
        if let Some(file) = resolve.iter().find_map(|prefix| path.strip_prefix(prefix)) {
            let Some(bytes) = files.get(file) else { return Answer::error(404, "EntryNotFound") };
            let (etag, size) = (format!("\"{}\"", self.etag(file)), bytes.len().to_string());
            let commit = ("X-Repo-Commit", commit.clone());
            return if bytes.len() < LARGE {
                Answer::new(307, &[("Location", format!("/cache/{file}")), commit], "")
            } else {
                let location = ("Location", format!("{content}/{file}?signed"));
                Answer::new(302, &[location, ("X-Linked-Etag", etag), ("X-Linked-Size", size), commit], "")
            };
        }
        if let Some(file) = path.strip_prefix("/cache/") {
            let content = Answer::content(request, &files[file]).with("X-Repo-Commit", Some(commit));
            return content.with("ETag", Some(&format!("\"{}\"", self.etag(file))));
        }
        Answer::error(404, "RepoNotFound")
    }

    fn leaf(&self, file: &str, size: usize) -> Value {
        let mut leaf = json!({"type": "file", "path": file, "size": size, "oid": self.etag(file)[..40]});
        if size >= LARGE {
            leaf["lfs"] = json!({"oid": self.etag(file), "size": size, "pointerSize": 134});
        }
        leaf
    }

    /// What the host of large files answers.
    pub fn content(&self, request: &Request) -> Answer {
        assert_eq!(request.header("authorization"), None, "the token is the hub's");
        match request.path[1..].strip_suffix("?signed").and_then(|file| self.files.get(file)) {
            Some(content) => Answer::content(request, content),
            None => Answer::error(404, ""),
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

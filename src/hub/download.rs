//! Files of a commit, into the cache: each is whole or not there.

use super::Progress;
use super::cache::Repository;
use super::client::{Client, Entry, header};
use crate::error::{Error, HubErrorKind, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// Fetches a commit's files.
pub(crate) struct Downloads<'a> {
    client: &'a Client<'a>,
    repository: &'a Repository,
    commit: &'a str,
    progress: &'a mut dyn FnMut(Progress<'_>),
    /// Bytes that are there, and of all files.
    done: u64,
    total: u64,
}

impl<'a> Downloads<'a> {
    pub(crate) fn new(
        client: &'a Client<'a>,
        repository: &'a Repository,
        commit: &'a str,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        Self { client, repository, commit, progress, done: 0, total: 0 }
    }

    /// Those of the files that are not there yet, each with what the hub says of it.
    pub(crate) fn plan<'f>(&mut self, files: &[&'f str]) -> Result<Vec<(&'f str, Entry)>> {
        let snapshot = self.repository.snapshot(self.commit);
        let absent = files.iter().filter(|file| !snapshot.join(file).is_file());
        let entries: Vec<_> =
            absent.map(|file| Ok((*file, self.client.entry(self.commit, file)?))).collect::<Result<_>>()?;
        self.total += entries.iter().map(|(_, entry)| entry.size).sum::<u64>();
        Ok(entries)
    }

    pub(crate) fn fetch(&mut self, plan: &[(&str, Entry)]) -> Result<()> {
        plan.iter().try_for_each(|(file, entry)| self.fetch_one(file, entry))
    }

    fn fetch_one(&mut self, file: &str, entry: &Entry) -> Result<()> {
        let blob = self.repository.blob(&entry.etag)?;
        let lock = self.repository.lock(&entry.etag)?;
        let before = self.done;
        // Another process may have fetched it meanwhile; and other commits may have the same file.
        if !blob.is_file() {
            // Without locks it must be this process's own.
            let process = if lock.is_some() { String::new() } else { format!(".{}", std::process::id()) };
            let partial = blob.with_file_name(format!("{}{process}.incomplete", entry.etag));
            self.fetch_to(&partial, file, entry)?;
            fs::rename(&partial, &blob).map_err(Error::io(&blob))?;
        }
        self.done = before + entry.size;
        self.report(file);
        self.repository.link(self.commit, file, &entry.etag, &blob)
    }

    /// Fetches what a partial file lacks. It stays where that ends early, and the next call goes on from there.
    fn fetch_to(&mut self, path: &Path, name: &str, entry: &Entry) -> Result<()> {
        let options = File::options().create(true).read(true).append(true).open(path);
        let mut partial = Partial { file: options.map_err(Error::io(path))?, path: path.to_owned() };
        let (before, mut furthest, mut failures) = (self.done, partial.len()?, 0);
        while let Err(error) = self.fetch_rest(&mut partial, name, entry, before) {
            if !error.is_no_answer() {
                drop(fs::remove_file(path)); // what is wrong in it does not become right
                return Err(error);
            }
            let len = partial.len()?;
            failures = if len > furthest { 0 } else { failures + 1 };
            furthest = furthest.max(len);
            if !self.client.wait(failures) {
                return Err(error);
            }
        }
        partial.file.sync_all().map_err(Error::io(path))?;
        let found = sha256(&mut partial.file).map_err(Error::io(path))?;
        // The name of a large file's content is its hash; that of a small one is git's.
        if entry.etag.len() != found.len() || entry.etag == found {
            return Ok(());
        }
        drop(fs::remove_file(path));
        Err(self.wrong(name, &format!("SHA-256 {found}"), &format!("SHA-256 {}", entry.etag)))
    }

    /// One request for what is not there yet.
    fn fetch_rest(&mut self, partial: &mut Partial, name: &str, entry: &Entry, before: u64) -> Result<()> {
        let from = match partial.len()? {
            len if len == entry.size => return Ok(()),
            len if len > entry.size => partial.clear()?,
            len => len,
        };
        let mut answer = self.client.content(self.commit, name, from)?;
        let at = self.place(&answer, from, name, entry)?;
        if at == 0 {
            partial.clear()?; // the server does not send parts
        }
        self.done = before + at;
        let (mut left, mut chunk) = (entry.size - at, vec![0; CHUNK]);
        let url = self.client.url(self.commit, name);
        let mut body = answer.body_mut().as_reader();
        loop {
            let read = body.read(&mut chunk).map_err(|error| self.client.no_answer(&url, error))?;
            if read == 0 && left > 0 {
                return Err(self.client.no_answer(&url, format!("{left} bytes less than {}", entry.size)));
            }
            if read == 0 {
                return Ok(());
            }
            if read as u64 > left {
                return Err(self.wrong(name, "more bytes", &format!("{} bytes", entry.size)));
            }
            partial.file.write_all(&chunk[..read]).map_err(Error::io(&partial.path))?;
            left -= read as u64;
            self.done += read as u64;
            self.report(name);
        }
    }

    /// The byte at which an answer begins: what was asked for, or the first. Refuses one of another size.
    fn place(&self, answer: &Response<Body>, from: u64, name: &str, entry: &Entry) -> Result<u64> {
        let number = |name: &str| header(answer, name).and_then(|text| text.parse::<u64>().ok());
        let (found, at) = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(answer, "content-range").unwrap_or("no Content-Range");
            let expected = format!("bytes {from}-{}/{}", entry.size.saturating_sub(1), entry.size);
            (Some(range.to_string()).filter(|range| *range != expected), from)
        } else {
            (number("content-length").filter(|&size| size != entry.size).map(|size| format!("{size} bytes")), 0)
        };
        let wrong = found.map(|found| self.wrong(name, &found, &format!("{} bytes, from {from} on", entry.size)));
        wrong.map_or(Ok(at), Err)
    }

    /// The error of a file that is not what the hub said.
    fn wrong(&self, name: &str, found: &str, expected: &str) -> Error {
        let found = format!("{found} from {}", self.client.url(self.commit, name));
        self.client.error(HubErrorKind::Content, &found, &format!("{expected}, as the hub says"), None)
    }

    fn report(&mut self, file: &str) {
        (self.progress)(Progress { file, done: self.done, total: self.total });
    }
}

/// A file that is not whole yet.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(Error::io(&self.path))
    }

    /// Begins anew, at byte 0.
    fn clear(&self) -> Result<u64> {
        self.file.set_len(0).map(|()| 0).map_err(Error::io(&self.path))
    }
}

fn sha256(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let (mut context, mut chunk) = (Context::new(&SHA256), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            read => context.update(&chunk[..read]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

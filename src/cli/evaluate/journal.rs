//! The file of `--resume`: a header line with the parameters, then one line a picture, all JSON.

use crate::align::Ranks;
use crate::cli::input::is_stdin;
use crate::error::{Error, Result};
use crate::output;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: &str = "crossalign-evaluation-1";

/// The result of one picture: a line of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// The file's name, for people who read the journal.
    pub(super) image: String,
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) ranks: Vec<Ranks>,
}

/// Identifies a picture: its file may move, and a changed one counts as new.
#[derive(PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    /// A hash of the file's bytes.
    pub(super) content: String,
    pub(super) class: String,
}

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// The results of earlier runs.
    pub(super) known: Arc<Known>,
}

/// Ranks of earlier runs.
pub(super) type Known = HashMap<Key, Vec<Ranks>>;

/// Refuses, before long work, what cannot keep results: a device, a pipe or a folder.
pub(super) fn check(path: &Path) -> Result<()> {
    let found = match path.metadata() {
        _ if is_stdin(path) => "standard input",
        Ok(metadata) if metadata.is_dir() => "a folder",
        Ok(metadata) if !metadata.is_file() => "a device or a pipe",
        Ok(_) => return Ok(()),
        Err(_) => return output::check(path),
    };
    Err(Error::file(path, "resume file", found, "a regular file, or one that is not there yet"))
}

impl Journal {
    /// Opens the file of an earlier run with the same parameters, or begins one.
    pub(super) fn open(path: &Path, parameters: &Value) -> Result<Self> {
        let options = File::options().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = options.map_err(Error::io(path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::file(path, "resume file", "another run that writes it", "one run at a time"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io(path))?;
        // An interrupted run may leave half a line at the end: it is cut off.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let header = json!({"format": FORMAT, "parameters": parameters}).to_string() + "\n";
        let known = if header.as_bytes().starts_with(&bytes[..]) {
            HashMap::new()
        } else {
            read(&bytes[..whole], &header).map_err(|error| error.in_file(path))?
        };
        let mut begin = || {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            if whole == 0 { file.write_all(header.as_bytes()) } else { Ok(()) }
        };
        begin().map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned(), file, known: known.into() })
    }

    /// Appends a record in one write, so that an interruption costs this line at most.
    pub(super) fn add(&mut self, record: &Record) -> Result<()> {
        let line = json!(record).to_string() + "\n";
        self.file.write_all(line.as_bytes()).map_err(Error::io(&self.path))
    }
}

/// Reads whole lines.
fn read(bytes: &[u8], header: &str) -> Result<Known> {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    check_header(lines.next().unwrap_or_default(), header)?;
    let parse = |(i, line): (usize, &[u8])| {
        let record: Record = serde_json::from_slice(line)
            .map_err(|error| Error::argument(format!("line {}", i + 2), error.to_string(), "a picture's ranks"))?;
        Ok((record.key, record.ranks))
    };
    lines.enumerate().map(parse).collect()
}

fn check_header(found: &[u8], expected: &str) -> Result<()> {
    let stranger = |what: String| Error::argument("resume file", what, format!("a file of format {FORMAT}"));
    let parse = |line: &[u8]| serde_json::from_slice::<Value>(line);
    let found = parse(found).map_err(|error| stranger(error.to_string()))?;
    if found["format"] != FORMAT {
        return Err(stranger(format!("format {}", found["format"])));
    }
    // Both went through JSON: numbers compare as they are written.
    let expected = parse(expected.as_bytes()).map_err(|error| stranger(error.to_string()))?;
    let (found, expected) = (&found["parameters"], &expected["parameters"]);
    // The names of both, since another version may have had other parameters.
    let names: BTreeSet<&String> =
        [found, expected].into_iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
    let other: Vec<&String> = names.into_iter().filter(|&name| found.get(name) != expected.get(name)).collect();
    if other.is_empty() {
        return Ok(());
    }
    let list = |of: &Value| other.iter().map(|&name| format!("{name} {}", of[name])).collect::<Vec<_>>().join(", ");
    Err(Error::argument("parameters", list(found), list(expected)))
}

//! A server of a few files on the loopback interface, to which a page posts its results.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// What is served at a path.
pub struct File {
    /// Without the slash that it begins with.
    path: String,
    content: Vec<u8>,
}

impl File {
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into() }
    }

    /// As browsers ask for it: they run no script and no program of another type.
    fn kind(&self) -> &'static str {
        match self.path.rsplit_once('.').map_or("html", |(_, extension)| extension) {
            "css" => "text/css",
            "html" => "text/html",
            "js" => "text/javascript",
            "png" => "image/png",
            "wasm" => "application/wasm",
            other => panic!("a file of the type {other}"),
        }
    }
}

/// Serves files until the process ends; what is posted to `/results` arrives at the receiver.
pub fn serve(files: Vec<File>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, results) = mpsc::channel();
    let files = Arc::new(files);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser opens connections that it may not use: none waits for another.
            let (files, sender) = (files.clone(), sender.clone());
            std::thread::spawn(move || answer(&stream, &files, &sender));
        }
    });
    (address, results)
}

fn answer(mut stream: &TcpStream, files: &[File], results: &Sender<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    let length: u64 = lines.iter().find_map(header).unwrap_or(0);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().trim_start_matches('/');
    let (status, kind, content) = match files.iter().find(|file| file.path == path) {
        Some(file) => ("200 OK", file.kind(), file.content.as_slice()),
        None if path == "results" => {
            // The receiver leaves with the first results.
            let _ = results.send(body);
            ("200 OK", "text/plain", &[][..])
        }
        None => ("404 Not Found", "text/plain", &[][..]),
    };
    let length = content.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(content)
}

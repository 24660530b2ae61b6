//! The decoding threads: they pull pictures from the input, read and decode them, and plan their views.

use super::Input;
use super::input::Job;
use super::queue::Queue;
use crate::error::Result;
use crate::image::{Picture, decoded_bytes, decoder_panicked, read_file};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<T, R> Queue<T, R> {
    /// The loop of a decoding thread, until the input ends.
    pub(super) fn decode(&self) {
        while let Some((number, Job { mut tag, open, .. })) = self.pull() {
            let plan = AssertUnwindSafe(|| {
                let picture = self.picture(number, open(&mut tag)?)?;
                self.stream.task.plan(Cow::Owned(picture))
            });
            let planned = catch_unwind(plan).unwrap_or_else(|_| Err(decoder_panicked()));
            self.ready(number, tag, planned);
        }
    }

    fn picture(&self, number: usize, input: Input) -> Result<Picture> {
        let options = &self.stream.decode;
        let (bytes, path) = match input {
            Input::Picture(picture) => return Ok(picture),
            Input::Bytes(bytes) => (bytes, None),
            Input::File(path) => (read_file(&path, options)?, Some(path)),
        };
        self.make_room(number, bytes.len(), decoded_bytes(&bytes, options))?;
        let picture = Picture::decode(&bytes, options);
        match path {
            Some(path) => picture.map_err(|error| error.in_file(&path)),
            None => picture,
        }
    }
}

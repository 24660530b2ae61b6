//! PNG files whose end is missing.

use std::borrow::Cow;

/// Length and kind before a chunk's data, and its checksum after them.
const HEADER: usize = 8;
const CHECKSUM: usize = 4;
/// The signature before the first chunk.
const SIGNATURE: usize = 8;
/// An end chunk with its checksum.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// The file with an end chunk where it has none, so that the decoder alone judges whether all rows are there: what a
/// last chunk of picture data still holds is kept, another chunk that is cut is left out.
pub(super) fn ended(file: &[u8]) -> Cow<'_, [u8]> {
    let mut at = SIGNATURE;
    while let Some(header) = file.get(at..at + HEADER) {
        let (length, kind) = header.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let next = (at + HEADER + CHECKSUM).saturating_add(length);
        if next <= file.len() {
            if kind == b"IEND" {
                return Cow::Borrowed(file);
            }
            at = next;
            continue;
        }
        let mut whole = file[..at].to_vec();
        if kind == b"IDAT" {
            let data = &file[at + HEADER..];
            let chunk = [kind, &data[..data.len().min(length)]].concat();
            whole.extend_from_slice(&((chunk.len() - kind.len()) as u32).to_be_bytes());
            whole.extend_from_slice(&chunk);
            whole.extend_from_slice(&crc32fast::hash(&chunk).to_be_bytes());
        }
        whole.extend_from_slice(END);
        return Cow::Owned(whole);
    }
    Cow::Owned([&file[..at.min(file.len())], END].concat())
}

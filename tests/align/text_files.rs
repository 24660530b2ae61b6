//! Encodings of text files, of which prompts are one.

use crossalign::{Prompts, Result};

fn open(bytes: &[u8]) -> Result<Prompts> {
    let file = tempfile::NamedTempFile::with_prefix("prompts").unwrap();
    std::fs::write(&file, bytes).unwrap();
    Prompts::open_with_labels(&file, &["cat".to_string()])
}

#[test]
fn one_mark_is_taken_off() {
    let first = |text: &str| open(text.as_bytes()).unwrap().classes()[0].descriptions[0].clone();
    assert_eq!(first(r#"["é {}"]"#), "é cat");
    assert_eq!(first("\u{feff}[\"é {}\u{feff}\"]"), "é cat\u{feff}");
    let twice = open("\u{feff}\u{feff}[\"{}\"]".as_bytes()).unwrap_err().to_string();
    assert!(twice.contains("prompts: found expected value at line 1 column 1"), "{twice}");
    let nothing = open(b"").unwrap_err().to_string();
    assert!(nothing.contains("prompts: found EOF"), "{nothing}");
}

#[test]
fn other_encodings_are_named() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (bytes, word) in [
        (utf16("\u{feff}cat"), "UTF-16"),
        (b"\xfe\xff\0c".to_vec(), "UTF-16"),
        (utf16("cat"), "UTF-16"),
        (b"caf\xe9".to_vec(), "index 3"),
    ] {
        let message = open(&bytes).unwrap_err().to_string();
        assert!(message.contains("prompts") && message.contains(": text: ") && message.contains(word), "{message}");
        assert!(message.ends_with("expected UTF-8"), "{message}");
    }
}

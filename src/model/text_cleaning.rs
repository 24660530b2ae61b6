//! OpenAI CLIP's text cleaning, done before tokenisation.
//!
//! Its parts are `ftfy.fix_text`, Python's `html.unescape` and `str.lower`:
//!
//! ```text
//! each line   ┌─▶ closed entities ──▶ fix_encoding until stable ──▶ fix_characters ─┐
//!             └───────────────────────── until stable ──────────────────────────────┘
//! then        unescape_html twice ──▶ runs of white space to one space ──▶ lower case
//! ```

use std::borrow::Cow;
use std::sync::LazyLock;

use htmlize::ENTITIES;
use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization;

/// Cleans `text` as OpenAI CLIP's `simple_tokenizer.py` does:
/// `whitespace_clean(basic_clean(text)).lower()`, that is `ftfy.fix_text`, `html.unescape` twice,
/// runs of white space to one space, trimmed, lower case.
///
/// Of ftfy's defaults these are here: entities, C1 controls, ligatures, widths, quotes, line breaks, terminal
/// escapes, control characters, NFC, and UTF-8 that was read as Latin-1 or Windows-1252, any number of times.
/// ftfy decides by heuristics whether text is garbled; here every well-formed sequence counts as garbled. Other
/// encodings, and sequences that lost a byte or gained a space, stay as they are.
pub(crate) fn clean_openai(text: &str) -> String {
    let fixed = fix_text(text);
    let unescaped = unescape_html(&unescape_html(&fixed)).into_owned();
    let words: Vec<&str> = unescaped.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// `ftfy.fix_text`: line by line; from the first line with a `<`, entities are left alone.
fn fix_text(text: &str) -> String {
    let mut may_unescape = true;
    let fix_line = |line: &str| {
        may_unescape &= !line.contains('<');
        fix_line(line, may_unescape)
    };
    text.split_inclusive('\n').map(fix_line).collect()
}

/// `ftfy.fix_and_explain`: one repair can lay bare another, so repeat until nothing changes.
fn fix_line(line: &str, may_unescape: bool) -> String {
    until_stable(line, |text| {
        let unescaped = if may_unescape {
            ENTITY.replace_all(text, |found: &Captures| closed_entity(&found[0]))
        } else {
            Cow::Borrowed(text)
        };
        fix_characters(&until_stable(&unescaped, fix_encoding))
    })
}

fn until_stable(text: &str, step: impl Fn(&str) -> String) -> String {
    let mut text = text.to_owned();
    loop {
        let next = step(&text);
        if next == text {
            return next;
        }
        text = next;
    }
}

/// ftfy's `HTML_ENTITY_RE`.
static ENTITY: LazyLock<Regex> = LazyLock::new(|| pattern(r"&#?[0-9A-Za-z]{1,24};"));

/// Python's `html._charref`.
static CHAR_REF: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\x0c <&#;]{1,32};?)"));

/// Python's `html.unescape`.
fn unescape_html(text: &str) -> Cow<'_, str> {
    CHAR_REF.replace_all(text, |found: &Captures| match found[0].strip_prefix("&#") {
        Some(number) => numeric_entity(number.trim_end_matches(';')),
        None => named_entity(&found[0]),
    })
}

/// The longest entity that `found` starts with, and the rest of `found`.
fn named_entity(found: &str) -> String {
    for end in (0..=found.len()).rev() {
        if let Some(text) = found.get(..end).and_then(entity) {
            return text.to_owned() + &found[end..];
        }
    }
    found.to_owned()
}

/// The character of a reference such as `233` or `xe9`, by HTML 5's rules for invalid ones.
fn numeric_entity(number: &str) -> String {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    match code.ok().and_then(char::from_u32) {
        None | Some('\0') => "\u{fffd}".to_owned(), // a surrogate, or out of range
        Some('\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}') => String::new(),
        Some('\u{fdd0}'..='\u{fdef}') => String::new(),
        Some(c) if u32::from(c) & 0xfffe == 0xfffe => String::new(), // noncharacters
        Some(c) => c1_to_windows(c).to_string(),
    }
}

/// ftfy's `_unescape_fixup`: only entities closed by a semicolon, also in capitals (`&EACUTE;`).
fn closed_entity(found: &str) -> String {
    let capitals = found == found.to_ascii_uppercase() && unescape_html(found) == found;
    let decoded = if found.starts_with("&#") {
        Some(unescape_html(found).into_owned()).filter(|text| !text.contains(';'))
    } else if capitals {
        entity(&found.to_ascii_lowercase()).map(str::to_uppercase)
    } else {
        entity(found).map(str::to_owned)
    };
    decoded.unwrap_or_else(|| found.to_owned())
}

fn entity(name: &str) -> Option<&'static str> {
    str::from_utf8(ENTITIES.get(name.as_bytes())?).ok()
}

/// ftfy's `ANSI_RE`.
static TERMINAL_ESCAPE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\x1b\[[\d;]*[a-zA-Z]"));

/// ftfy's `LIGATURES`; ŉ with its apostrophe already straight.
#[rustfmt::skip]
const LIGATURES: [(char, &str); 22] = [
    ('Ĳ', "IJ"), ('ĳ', "ij"), ('ŉ', "'n"), ('Ǳ', "DZ"), ('ǲ', "Dz"), ('ǳ', "dz"),
    ('Ǆ', "DŽ"), ('ǅ', "Dž"), ('ǆ', "dž"), ('Ǉ', "LJ"), ('ǈ', "Lj"), ('ǉ', "lj"),
    ('Ǌ', "NJ"), ('ǋ', "Nj"), ('ǌ', "nj"), ('ﬀ', "ff"), ('ﬁ', "fi"), ('ﬂ', "fl"),
    ('ﬃ', "ffi"), ('ﬄ', "ffl"), ('ﬅ', "ſt"), ('ﬆ', "st"),
];

/// The steps of ftfy that follow `fix_encoding`.
fn fix_characters(text: &str) -> String {
    let mut simple = String::with_capacity(text.len());
    for c in text.chars() {
        push_simple(c1_to_windows(c), &mut simple);
    }
    let plain = TERMINAL_ESCAPE.replace_all(&simple, "");
    plain.chars().filter(|&c| !is_control(c)).nfc().collect()
}

/// Ligatures, widths, quotes and line breaks.
fn push_simple(c: char, out: &mut String) {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => out.push('\''),
        '\u{201c}'..='\u{201f}' => out.push('"'),
        '\u{3000}' => out.push(' '),
        '\u{ff01}'..='\u{ffef}' => out.extend([c].into_iter().nfkc()),
        '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'), // \r\n: white space is merged later
        _ => match LIGATURES.iter().find(|(ligature, _)| *ligature == c) {
            Some((_, letters)) => out.push_str(letters),
            None => out.push(c),
        },
    }
}

/// ftfy's `CONTROL_CHARS`, the byte order mark among them.
fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// A C1 control is Windows-1252 read as Latin-1: browsers and ftfy (`fix_c1_controls`) agree.
fn c1_to_windows(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => WINDOWS_1252_C1[c as usize - 0x80],
        _ => c,
    }
}

/// What Windows-1252 has at the bytes 0x80 to 0x9f; its other bytes are Latin-1's.
#[rustfmt::skip]
const WINDOWS_1252_C1: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The byte that reads as `c` in Latin-1 or Windows-1252.
fn to_byte(c: char) -> Option<u8> {
    let c1 = || WINDOWS_1252_C1.iter().position(|&listed| listed == c).map(|i| 0x80 + i as u8);
    u8::try_from(u32::from(c)).ok().or_else(c1)
}

/// Replaces each run of characters whose bytes are one UTF-8 sequence by the character that they spell.
fn fix_encoding(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut fixed = String::with_capacity(text.len());
    let mut rest = characters.as_slice();
    while let Some(&first) = rest.first() {
        let (c, length) = garbled_character(rest).unwrap_or((first, 1));
        fixed.push(c);
        rest = &rest[length..];
    }
    fixed
}

/// The character spelled by the first two to four of `characters`, and how many they are.
fn garbled_character(characters: &[char]) -> Option<(char, usize)> {
    let length = match to_byte(*characters.first()?)? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let bytes: Option<Vec<u8>> = characters.get(..length)?.iter().map(|&c| to_byte(c)).collect();
    let c = str::from_utf8(&bytes?).ok()?.chars().next()?;
    Some((c, length))
}

/// Compiles a constant expression.
fn pattern(expression: &str) -> Regex {
    Regex::new(expression).expect("a valid pattern")
}

#[cfg(test)]
mod tests {
    use super::clean_openai;

    /// What Python 3.11's `html` and ftfy 6.3.1 give.
    const CLEANED: &[(&str, &str)] = &[
        ("  A photo\tof\u{3000}a\u{a0}cat.\r\n", "a photo of a cat."),
        ("don’t “curly” ‛‟ ʼ", "don't \"curly\" '\" '"),
        ("&lt;b&gt; &amp;amp; html", "<b> & html"),
        ("&amp;amp;amp;lt;", "<"),
        ("P&EACUTE;REZ &nTILDE; &SZLIG;", "pérez &ntilde; ss"),
        ("&eacute &#233 &#xE9; &notit; a&b", "é é é ¬it; a&b"),
        ("&#150; &#x80; &#1;x &#xD800; &#59; &#99999999999;", "– € x � ; �"),
        ("<p>&eacute;\n&amp;eacute;", "<p>é é"),
        ("&#38;amp;amp;eacute;", "é"),
        ("<p>\n&#38;amp;amp;eacute;", "<p> &amp;eacute;"),
        ("a&#xFFFE;b&#x1FFFF;c&#xFDD0;d&#xE000;", "abcd\u{e000}"),
        ("ﬂuﬃeﬆ ŉ Ǆ", "fluffiest 'n dž"),
        ("ＬＯＵＤ\u{3000}ＮＯＩＳＥＳ ｶﾞ ￥", "loud noises ガ ¥"),
        ("\u{feff}a\u{0}b\u{7f}￼c\u{1b}[36;44md\u{1b}[0m", "abcd"),
        ("a\u{85}b\u{2028}c\u{200b}d", "a…b c\u{200b}d"),
        ("e\u{301} Å", "é å"),
        ("ΟΔΥΣΣΕΥΣ ΑΣ. İ ẞ", "οδυσσευς ας. i\u{307} ß"),
        ("\u{93}x\u{94} \u{81}", "\"x\" \u{81}"),
        ("cafÃ©", "café"),
        ("â€œitâ€™sâ€\u{9d}", "\"it's\""),
        ("ÃƒÂ©", "é"),
        ("doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t", "doesn't"),
        ("ðŸ˜‚ ã\u{83}\u{84}", "😂 ツ"),
        ("æ—¥æœ¬èªž", "日本語"),
        ("“é” cafÃ© 日本", "\"é\" café 日本"),
        ("caf&Atilde;&copy;", "café"),
        ("10Â°, Â£5", "10°, £5"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет"),
        ("naïve Ünïcode NÃO", "naïve ünïcode não"),
        ("", ""),
    ];

    #[test]
    fn cleans_as_python_does() {
        for (text, cleaned) in CLEANED {
            assert_eq!(clean_openai(text), *cleaned, "{text:?}");
        }
    }
}

//! Models by their names on the hub, as `--model` takes them.

use crate::error::Result;
use std::borrow::Cow;
use std::path::Path;

/// The folder of the model that is named, whose files are fetched where the cache lacks them; any other path as it is.
#[cfg(feature = "hub")]
pub(super) fn fetch(model: &Path) -> Result<Cow<'_, Path>> {
    use crate::hub::{Hub, Name};
    let Some(name) = Name::of(model) else { return Ok(model.into()) };
    let mut bar = None;
    let folder = Hub::from_env()?.fetch(&name, |progress| {
        let bar = bar.get_or_insert_with(bytes_bar);
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.file.to_string());
    })?;
    Ok(folder.into())
}

/// Any path as it is: this program was built without the feature hub.
#[cfg(not(feature = "hub"))]
pub(super) fn fetch(model: &Path) -> Result<Cow<'_, Path>> {
    Ok(model.into())
}

/// A bar of bytes on stderr, on a terminal only; it goes with the value.
#[cfg(feature = "hub")]
fn bytes_bar() -> indicatif::ProgressBar {
    use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left, {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_finish(ProgressFinish::AndClear)
}

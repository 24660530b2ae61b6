//! Python's own `huggingface_hub` and this crate read each other's caches.

use super::server::MODEL;
use super::{World, fingerprint, golden, tiny};
use std::process::Command;

/// What Python prints; `CROSSALIGN_PYTHON` is another one than `python3`.
fn python(world: &World, script: &str) -> String {
    let python = std::env::var("CROSSALIGN_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", script]).env("HF_HUB_CACHE", world.cache.path()).env("HF_ENDPOINT", &world.hub.url);
    let output = command.env_remove("HF_TOKEN").env("HF_HUB_DISABLE_PROGRESS_BARS", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

#[machine::has(huggingface_hub)]
#[test]
fn python_reads_this_cache() {
    let world = World::new(tiny());
    let folder = world.fetch(MODEL).unwrap();
    world.requests();
    let script = "import huggingface_hub as h; print(h.snapshot_download('org/tiny', local_files_only=True))";
    assert_eq!(python(&world, script), folder.to_str().unwrap());
    // As transformers asks for a file that is there, and for one that is not.
    let script = "import huggingface_hub as h; print([h.try_to_load_from_cache('org/tiny', f) is h._CACHED_NO_EXIST \
                  for f in ['model.safetensors', 'processor_config.json']])";
    assert_eq!(python(&world, script), "[False, True]");
    let script = "import huggingface_hub as h; i = h.scan_cache_dir(); print([r.repo_id for r in i.repos], i.warnings)";
    assert_eq!(python(&world, script), "['org/tiny'] []");
    assert_eq!(world.requests(), [""; 0]);
}

#[machine::has(huggingface_hub)]
#[test]
fn pythons_cache_is_read() {
    let world = World::new(tiny());
    let script =
        "import huggingface_hub as h; h.snapshot_download('org/tiny', allow_patterns=['*.json', '*.safetensors'])";
    python(&world, script);
    world.requests();
    let folder = world.hub().with_offline(true).fetch(&MODEL.parse().unwrap(), |_| ()).unwrap();
    assert_eq!(fingerprint(&folder), fingerprint(&golden("transformers")));
    assert_eq!(world.fetch(MODEL).unwrap(), folder);
    assert_eq!(world.requests(), ["GET /api/models/org/tiny/revision/main"]);
}

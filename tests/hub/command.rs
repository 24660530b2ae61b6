//! The command line, whose hub the environment names; and the library, which reads the same environment.

use super::server::MODEL;
use super::{World, golden, tiny};
use crossalign::model::Config;
use serde_json::Value;
use std::process::{Command, Output};

/// A command in the world's environment, and in its cache's folder.
fn command(world: &World, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(world.cache.path()).env("HF_HUB_CACHE", world.cache.path());
    command.env("HF_ENDPOINT", format!("{}/", world.hub.url)).env("HF_HOME", "/nowhere");
    for variable in
        ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"]
    {
        command.env_remove(variable);
    }
    command
}

fn crossalign(world: &World, args: &[&str]) -> Command {
    command(world, env!("CARGO_BIN_EXE_crossalign"), args)
}

/// Standard output, after success without a word on stderr.
#[track_caller]
fn succeeds(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The one line on stderr, after exit status 1.
#[track_caller]
fn fails(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.code() == Some(1) && stderr.lines().count() == 1, "{stderr}");
    stderr
}

#[test]
fn model_takes_a_name() {
    let world = World::new(tiny());
    let picture = golden("../pictures/tiny.png");
    let args =
        |model| ["classify", picture.to_str().unwrap(), "--labels", "cat,dog", "--method", "clip", "--model", model];
    let by_name = succeeds(crossalign(&world, &args(MODEL)));
    let folder = golden("transformers");
    assert_eq!(by_name, succeeds(crossalign(&world, &args(folder.to_str().unwrap()))));
    world.requests();
    let mut offline = crossalign(&world, &args("org/tiny@main"));
    offline.env("HF_HUB_OFFLINE", "1");
    assert_eq!(by_name, succeeds(offline));
    let out = world.cache.path().join("out");
    let out = out.to_str().unwrap();
    succeeds(crossalign(&world, &["views", picture.to_str().unwrap(), "--model", MODEL, "--views", "1", "-o", out]));
    let texts = world.cache.path().join("texts.json");
    std::fs::write(&texts, r#"["a cat"]"#).unwrap();
    succeeds(crossalign(&world, &["embed", "--texts", texts.to_str().unwrap(), "--model", MODEL, "-o", out]));
    assert_eq!(world.requests(), [""; 0]);
    // A folder goes before a name.
    std::fs::create_dir_all(world.cache.path().join("org/other")).unwrap();
    let message = fails(crossalign(&world, &args("org/other")));
    assert!(message.contains("org/other: weights: found no safetensors file"), "{message}");
    assert_eq!(world.requests(), [""; 0]);

    let message = fails(crossalign(&world, &args("org/nothing")));
    for words in
        ["404 RepoNotFound", "hf download org/nothing", "crossalign models", world.cache.path().to_str().unwrap()]
    {
        assert!(message.contains(words), "{message}");
    }
    let message = fails(crossalign(&world, &args("org/tiny@../x")));
    assert!(message.contains("no such folder") && message.contains("ORG/NAME@REVISION"), "{message}");
}

#[test]
fn models_lists_the_cache() {
    let world = World::new(tiny());
    assert_eq!(succeeds(crossalign(&world, &["models"])), "");
    world.fetch(MODEL).unwrap();
    let empty = world.cache.path().join("models--org--empty/snapshots").join("2".repeat(40));
    std::fs::create_dir_all(empty).unwrap();
    let text = succeeds(crossalign(&world, &["models"]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let name = format!("org/empty@{}", "2".repeat(40));
    assert!(
        lines[0].starts_with(&name) && lines[0].contains("does not fit: weights: found no safetensors file"),
        "{text}"
    );
    assert!(lines[1].starts_with("org/tiny ") && lines[1].contains(" kB  CLIP, 24 pixels in patches of 8"), "{text}");
    let lines = succeeds(crossalign(&world, &["models", "--format", "json"]));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["model"], &lines[0]["kind"]), (&name.into(), &Value::Null));
    assert!(lines[0]["reason"].as_str().unwrap().starts_with("weights: "));
    assert_eq!((&lines[1]["model"], &lines[1]["reason"]), (&MODEL.into(), &Value::Null));
    assert_eq!(lines[1]["commit"].as_str(), Some(&*tiny().commit));
    assert!(
        lines[1]["bytes"].as_u64().unwrap() > 100_000 && lines[1]["folder"].as_str().unwrap().ends_with(&tiny().commit)
    );
}

/// `Model::load` and `Config::open` take a name, too: [`opens_a_name`] in an environment of its own.
#[test]
fn the_library_takes_a_name() {
    let world = World::new(tiny());
    let test = std::env::current_exe().unwrap();
    let output =
        command(&world, test.to_str().unwrap(), &["--ignored", "--exact", "command::opens_a_name"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(world.requests().iter().any(|request| request.contains("model.safetensors")));
}

#[ignore = "run by the_library_takes_a_name"]
#[test]
fn opens_a_name() {
    assert_eq!(Config::open(MODEL, None).unwrap().image_size, 24);
}

//! What a hub, or what is between, may do wrong: an error that tells it, and never a file that is not the model's.

use super::server::{Answer, MODEL, Request, Server};
use super::{World, fingerprint, golden, refused, tiny};
use crossalign::HubErrorKind::{Answer as Other, Content, Denied, NoAnswer, NotFound};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

const WEIGHTS: &str = "model.safetensors";

fn size() -> usize {
    tiny().files[WEIGHTS].len()
}

/// The partial file of the weights.
fn partial() -> String {
    format!("{}.incomplete", tiny().etag(WEIGHTS))
}

/// Changes the answers with weights in them.
fn of_weights(change: impl Fn(&Request, Answer) -> Answer) -> impl Fn(&Request, Answer) -> Answer {
    move |request, answer| if request.path.contains(WEIGHTS) { change(request, answer) } else { answer }
}

/// A world whose other host changes the weights' answers.
fn content(change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> World {
    World::with(tiny(), |_, answer| answer, of_weights(change))
}

/// A world whose hub changes its answers for the weights.
fn hub(change: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> World {
    World::with(tiny(), of_weights(change), |_, answer| answer)
}

#[test]
fn an_interrupted_file_goes_on_where_it_stopped() {
    let step = size() / 7 + 1; // more tries than may fail in a row
    let world = content(move |_, answer| answer.cut(step));
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("transformers")));
    let requests = world.content.requests();
    let from = |i: usize| if i == 0 { String::new() } else { format!(" {}", i * step) };
    let expected: Vec<_> = (0..7).map(|i| format!("GET /{WEIGHTS}?signed{}", from(i))).collect();
    let requests: Vec<_> = requests.into_iter().filter(|request| request.contains(WEIGHTS)).collect();
    assert_eq!(requests, expected);
}

#[test]
fn the_next_call_goes_on_too() {
    let tries = AtomicUsize::new(0);
    let world = content(move |_, answer| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => answer.cut(1000),
        1..4 => answer.cut(0),
        _ => answer,
    });
    world.refuses(NoAnswer, &[WEIGHTS]);
    assert_eq!(std::fs::metadata(world.file("blobs").join(partial())).unwrap().len(), 1000);
    assert!(!world.file("refs/main").exists());
    assert!(!world.file(&format!("snapshots/{}/{WEIGHTS}", "1".repeat(40))).exists());
    world.requests();
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("transformers")));
    assert!(world.content.requests().contains(&format!("GET /{WEIGHTS}?signed 1000")));
    assert!(!world.blobs().contains(&partial()));
}

#[test]
fn a_host_without_parts_begins_anew() {
    let tries = AtomicUsize::new(0);
    let world = content(move |_, _| {
        let whole = tiny().files[WEIGHTS].clone();
        let answer = Answer::new(200, &[("Content-Length", whole.len().to_string())], whole);
        if tries.fetch_add(1, Ordering::Relaxed) == 0 { answer.cut(1000) } else { answer }
    });
    assert_eq!(fingerprint(&world.fetch(MODEL).unwrap()), fingerprint(&golden("transformers")));
}

#[test]
fn a_partial_file_of_something_else_is_refused_and_goes() {
    let world = content(|_, answer| answer);
    std::fs::create_dir_all(world.file("blobs")).unwrap();
    std::fs::write(world.file("blobs").join(partial()), "something else").unwrap();
    world.refuses(Content, &[WEIGHTS, "SHA-256"]);
    assert!(!world.blobs().contains(&partial()));
    world.fetch(MODEL).unwrap();
    // One that is longer than the file begins anew.
    let world = content(|_, answer| answer);
    std::fs::create_dir_all(world.file("blobs")).unwrap();
    std::fs::write(world.file("blobs").join(partial()), vec![0; size() + 1]).unwrap();
    world.fetch(MODEL).unwrap();
}

#[test]
fn sizes_and_contents_that_differ_are_refused() {
    let nothing_is_left = |world: &World, words: &[&str]| {
        world.refuses(Content, &[&[WEIGHTS], words].concat());
        assert!(!world.blobs().iter().any(|blob| blob.starts_with(&tiny().etag(WEIGHTS))));
        assert!(!world.file(&format!("snapshots/{}/{WEIGHTS}", "1".repeat(40))).exists());
    };
    let expected = format!("{} bytes", size());
    // Cut, with a size that fits what is left.
    let shorter = content(|_, mut answer| {
        answer.body.truncate(1000);
        answer.with("Content-Length", Some("1000"))
    });
    nothing_is_left(&shorter, &["found", "1000 bytes", &expected]);
    // Without a size a longer one is noticed as it comes.
    let longer = content(|_, mut answer| {
        answer.body.push(0);
        answer.with("Content-Length", None)
    });
    nothing_is_left(&longer, &["more bytes", &expected]);
    let other = content(|_, mut answer| {
        answer.body[5000] ^= 1;
        answer
    });
    nothing_is_left(&other, &["SHA-256"]);
    nothing_is_left(&hub(|_, answer| answer.with("X-Linked-Size", Some("7"))), &["7 bytes"]);
    // A part of another file, or from another place.
    for range in ["bytes 1000-1999/2000", "bytes 0-9/10", "bytes", ""] {
        let tries = AtomicUsize::new(0);
        let world = content(move |_, answer| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => answer.cut(1000),
            _ => answer.with("Content-Range", Some(range)),
        });
        nothing_is_left(&world, &[range, &expected]);
    }
}

#[test]
fn refusals_tell_what_helps() {
    let all = |status, code| World::with(tiny(), move |_, _| Answer::error(status, code), |_, answer| answer);
    all(401, "").refuses(Denied, &["401 from http://127.0.0.1", "/api/models/org/tiny/revision/main", "a token"]);
    all(401, "GatedRepo").refuses(Denied, &["401 GatedRepo"]);
    let world = all(403, "GatedRepo");
    world.refuses(Denied, &["403 GatedRepo", &format!("{}/org/tiny says", world.hub.url)]);
    all(404, "RepoNotFound").refuses(NotFound, &["404 RepoNotFound", "a name and a revision"]);
    all(400, "").refuses(Other, &["400"]);
    let world = all(503, "");
    world.refuses(NoAnswer, &["503"]);
    assert_eq!(world.requests().len(), 4, "it may be busy: asked again");
    // Nothing that a terminal would obey.
    all(401, "GatedRepo\u{9b}").refuses(Denied, &["401 from"]);
    // The weights alone; the hub lists what it does not give.
    hub(|_, _| Answer::error(403, "GatedRepo")).refuses(Denied, &["403 GatedRepo", WEIGHTS]);
    hub(|_, _| Answer::error(404, "EntryNotFound")).refuses(NotFound, &["404 EntryNotFound", WEIGHTS]);
    hub(|_, answer| Answer { status: 403, ..answer }).refuses(Denied, &["403", WEIGHTS]);
    let world = content(|_, _| Answer::error(403, ""));
    world.refuses(Denied, &["403", &format!("{}/{WEIGHTS},", world.content.url)]); // without the link's signature
}

#[test]
fn a_busy_hub_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let busy = move |_: &Request, answer| {
        if tries.fetch_add(1, Ordering::Relaxed).is_multiple_of(5) { Answer::error(429, "") } else { answer }
    };
    World::with(tiny(), busy, |_, answer| answer).fetch(MODEL).unwrap();
}

#[test]
fn no_hub_at_all() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new(tiny());
    for endpoint in [format!("http://{closed}"), "http://nowhere.invalid".into()] {
        let result = world.hub().with_endpoint(&*endpoint).fetch(&MODEL.parse().unwrap(), |_| ());
        refused(result, NoAnswer, &[&endpoint]);
    }
    for endpoint in ["", "nowhere", "ftp://nowhere", "http://a b", "http://"] {
        let result = world.hub().with_endpoint(endpoint).fetch(&MODEL.parse().unwrap(), |_| ());
        assert!(matches!(result, Err(crossalign::Error::Hub { .. })), "{endpoint}: {result:?}");
    }
    let result = world.hub().with_token("\n".to_string()).fetch(&MODEL.parse().unwrap(), |_| ());
    refused(result, Other, &["a token of plain letters"]);
    assert_eq!(world.requests(), [""; 0]);
}

#[test]
fn redirects_end() {
    let to = |location: &'static str| hub(move |_, _| Answer::new(302, &[("Location", location.into())], ""));
    to("/org/tiny/resolve/main/model.safetensors").refuses(Other, &["more than 10 redirects"]);
    to("file:///etc/passwd").refuses(Other, &["302"]);
    to("").refuses(Other, &["302"]);
    hub(|_, _| Answer::new(302, &[], "")).refuses(Other, &["302"]);
    // A hub that sends on to another one, as after a move: the token stays here.
    let world = World::new(tiny());
    let there = world.hub.url.clone();
    let moved = Server::start(move |request| Answer::new(308, &[("Location", format!("{there}{}", request.path))], ""));
    let hub = world.hub().with_endpoint(&*moved.url).with_token("secret".to_string());
    assert_eq!(fingerprint(&hub.fetch(&MODEL.parse().unwrap(), |_| ()).unwrap()), fingerprint(&golden("transformers")));
}

#[test]
fn answers_that_no_hub_gives() {
    let listing = |body: &'static str| {
        let change = move |request: &Request, answer| {
            if request.path.starts_with("/api/") { Answer::new(200, &[], body) } else { answer }
        };
        World::with(tiny(), change, |_, answer| answer)
    };
    for body in ["", "{", "[]", "<html>", r#"{"sha": 1}"#, r#"{"sha": "../..", "siblings": []}"#, "\u{0}"] {
        listing(body).refuses(Other, &["/api/models/"]);
    }
    let commit = "1".repeat(40);
    let body =
        json!({"sha": commit, "siblings": [{"rfilename": "../model.safetensors"}, {"rfilename": "a?b.safetensors"}]});
    let error = listing(body.to_string().leak()).fetch(MODEL).unwrap_err().to_string();
    assert!(error.contains("no safetensors file"), "{error}");
    for etag in ["\"../../x\"", "\"\"", "\"a/b\"", "\".\""] {
        let change = move |request: &Request, answer: Answer| {
            if request.path.contains(WEIGHTS) { answer.with("X-Linked-Etag", Some(etag)) } else { answer }
        };
        let unnamed = of_weights(|_, answer| answer.with("ETag", None));
        World::with(tiny(), change, unnamed).refuses(Other, &["ETag", WEIGHTS]);
    }
    let index = json!({"weight_map": {"a": "../../../x.safetensors"}}).to_string();
    let world = World::new(tiny().without(WEIGHTS).with("model.safetensors.index.json", index));
    let error = world.fetch(MODEL).unwrap_err().to_string();
    assert!(error.contains("../../../x.safetensors"), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let world = World::new(tiny());
    let file = world.cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = world.hub().with_cache(&*file).fetch(&MODEL.parse().unwrap(), |_| ()).unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}

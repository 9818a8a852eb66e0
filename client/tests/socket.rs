//! The daemon's socket: its language, its calls side by side, and whatever bytes come.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod home;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use home::Home;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Only there so that a hang ends.
const LIMIT: Duration = Duration::from_secs(120);

struct Caller {
    stream: UnixStream,
    lines: Lines<BufReader<UnixStream>>,
}

impl Caller {
    fn new(home: &Home) -> Self {
        let stream = UnixStream::connect(home.path("home/daemon.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        Self { stream, lines }
    }

    fn call(&mut self, id: u64, method: &str, params: Value) {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        writeln!(self.stream, "{call}").unwrap();
    }

    fn line(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.call(7, method, params);
        loop {
            // A connection that subscribed is told of things in between.
            let line = self.line();
            if line.get("id").is_some() {
                return line;
            }
        }
    }
}

/// Whether a value is what a schema says: as much of JSON Schema as ours use. Anything else fails.
fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (word, said) in schema.as_object().ok_or("no schema")? {
        let list = || said.as_array().unwrap().iter();
        let fine = match word.as_str() {
            "title" | "description" | "default" | "format" | "additionalProperties" => true,
            "$ref" => {
                let place = said.as_str().unwrap().strip_prefix('#').unwrap();
                check(document, document.pointer(place).unwrap(), value)?;
                true
            }
            "anyOf" | "oneOf" => list().any(|s| check(document, s, value).is_ok()),
            "allOf" => list().all(|s| check(document, s, value).is_ok()),
            "const" => said == value,
            "enum" => list().any(|one| one == value),
            "type" => {
                let one = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "null" => value.is_null(),
                    _ => false,
                };
                match said.as_str() {
                    Some(name) => one(name),
                    None => list().any(|name| one(name.as_str().unwrap())),
                }
            }
            "minimum" => value.as_f64().is_none_or(|v| v >= said.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= said.as_f64().unwrap()),
            "minItems" => value
                .as_array()
                .is_none_or(|v| v.len() as u64 >= said.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|v| v.len() as u64 <= said.as_u64().unwrap()),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(document, said, item)?;
                }
                true
            }
            "required" => list().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    let known = said
                        .get(name)
                        .ok_or_else(|| format!("{name} is not listed"))?;
                    check(document, known, field)?;
                }
                true
            }
            _ => return Err(format!("the test does not know {word}")),
        };
        if !fine {
            return Err(format!("{word} {said}: {value}"));
        }
    }
    Ok(())
}

#[test]
fn what_a_daemon_answers_is_what_the_printed_schema_says() {
    let home = Home::new();
    let printed = home.run("right", &["daemon", "--print-schema"]);
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert!(document["openrpc"].as_str().unwrap().starts_with("1."));
    home.init();
    let _daemon = home.daemon();
    let mut caller = Caller::new(&home);
    let mut checked = 0;
    for method in document["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        if name == "stop" {
            continue;
        }
        let mut params = json!({});
        for param in method["params"].as_array().unwrap() {
            if param["required"] == json!(true) {
                params[param["name"].as_str().unwrap()] = json!("x");
            }
        }
        let answer = caller.ask(name, params.clone());
        match answer.get("error") {
            None => {
                let schema = &method["result"]["schema"];
                check(&document, schema, &answer["result"]).expect(name);
                checked += 1;
            }
            Some(error) => {
                let code = error["code"].as_i64().unwrap();
                let listed = document["components"]["errors"].get(code.to_string());
                assert_eq!(listed.unwrap()["code"], error["code"], "{answer}");
            }
        }
        params["surprise"] = json!(1);
        assert_eq!(caller.ask(name, params)["error"]["code"], -32_602, "{name}");
    }
    assert!(checked >= 4, "{checked} answers were checked");
    // The walker finds what is wrong.
    let status = document["methods"].as_array().unwrap().iter();
    let status = status.clone().find(|m| m["name"] == "status").unwrap();
    let mut answer = caller.ask("status", json!({}))["result"].take();
    check(&document, &status["result"]["schema"], &answer).unwrap();
    answer["online"] = json!("yes");
    check(&document, &status["result"]["schema"], &answer).unwrap_err();
}

#[test]
fn calls_of_one_connection_run_side_by_side_and_end_with_it() {
    let home = Home::new();
    home.init();
    let _daemon = home.daemon();
    let mut caller = Caller::new(&home);
    caller.call(1, "receive", json!({ "wait_s": 3_600 }));
    caller.call(2, "status", json!({}));
    assert_eq!(
        caller.line()["id"],
        2,
        "the second does not wait for the first"
    );
    for id in 3..20 {
        caller.call(id, "receive", json!({ "wait_s": 3_600 }));
    }
    let mut refused = 0;
    while refused < 10 {
        let answer = caller.line();
        assert_eq!(answer["error"]["message"], "too many calls at once");
        refused += 1;
    }
    // Whoever closes its own direction is told that nothing comes any more.
    caller.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..8 {
        assert_eq!(caller.line()["error"]["code"], 1);
    }
    assert!(caller.lines.next().is_none());
}

#[test]
fn the_bridge_hands_lines_both_ways() {
    let home = Home::new();
    home.init();
    let _daemon = home.daemon();
    let mut command = home.command("right", &["rpc"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe"}}"#).unwrap();
    assert!(lines.next().unwrap().unwrap().contains("\"result\":{}"));
    writeln!(stdin, "nonsense").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("-32700"));
    drop(stdin);
    assert!(lines.next().is_none());
    assert!(child.wait().unwrap().success());
}

/// What a careless or malicious program of the same user may write.
fn bytes(rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut noise = vec![0; (rng.next_u32() % 2_000) as usize];
    rng.fill_bytes(&mut noise);
    let valid = [
        r#"{"jsonrpc":"2.0","id":1,"method":"receive","params":{"wait_s":3600}}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"subscribe","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"send","params":{"contact":"bob","text":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"invite","params":{"name":"\u202ebob","wait_s":60}}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"add","params":{"name":"eve","invitation":"whist:a"}}"#,
        r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"status"}"#,
        r#"{"jsonrpc":"2.0","id":{"a":[]},"method":"status"}"#,
    ];
    let mut line = valid[rng.next_u32() as usize % valid.len()]
        .as_bytes()
        .to_vec();
    match rng.next_u32() % 6 {
        0 => noise,
        1 => vec![b'['; 100_000],
        2 => {
            let at = rng.next_u32() as usize % line.len();
            line[at] = (rng.next_u32() & 0xff) as u8;
            line
        }
        3 => vec![b' '; 600_000],
        4 => [line, noise].concat(),
        _ => {
            line.push(b'\n');
            line.repeat(1 + rng.next_u32() as usize % 30)
        }
    }
}

#[test]
fn any_bytes_from_a_local_client_leave_the_daemon_and_other_clients_unharmed() {
    let home = Home::new();
    home.init();
    let mut daemon = home.daemon();
    let mut steady = Caller::new(&home);
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let rounds = std::env::var("WHIST_SOCKET_FUZZ").map_or(150, |n| n.parse().unwrap());
    for round in 0..rounds {
        let mut stream = UnixStream::connect(home.path("home/daemon.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // The daemon may close before all is written.
        let _ = stream.write_all(&bytes(&mut rng));
        match rng.next_u32() % 3 {
            0 => {}
            1 => {
                let _ = stream.write_all(b"\n");
                let _ = stream.shutdown(Shutdown::Write);
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
            }
            _ => {
                let _ = stream.write_all(&bytes(&mut rng));
            }
        }
        drop(stream);
        let answer = steady.ask("status", json!({}));
        assert_eq!(answer["result"]["online"], json!(false), "round {round}");
    }
    let contacts = steady.ask("contacts", json!({}));
    assert_eq!(contacts["result"], json!({ "contacts": [] }));
    steady.ask("stop", json!({}));
    assert!(daemon.0.wait().unwrap().success());
}

//! The socket's language for other people's programs: an OpenRPC document
//! (<https://spec.open-rpc.org>), made from the same types that the daemon reads and writes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Answer, Call, METHODS, Notice};
use crate::rpc;

/// The version of the OpenRPC specification.
const OPENRPC: &str = "1.3.2";
const DEFINITIONS: &str = "/components/schemas";

/// Codes of errors, with what they mean. Those above zero are the exit codes of the command line.
pub const ERRORS: [(i64, &str); 12] = [
    (rpc::PARSE_ERROR, "not JSON"),
    (rpc::INVALID_REQUEST, "not a request"),
    (rpc::METHOD_NOT_FOUND, "no such method"),
    (rpc::INVALID_PARAMS, "wrong parameters"),
    (1, "other"),
    (2, "usage, a malformed invitation, a wrong file"),
    (3, "locked, or a wrong passphrase"),
    (4, "no daemon, or it is ending"),
    (5, "unknown contact"),
    (6, "a contact's key changed"),
    (7, "timed out waiting, or nothing came"),
    (8, "refused by policy"),
];

/// What `whist daemon --print-schema` prints.
pub fn document() -> Value {
    let (calls, mut definitions) = parts::<Call>(false, "oneOf");
    let (notices, more) = parts::<Notice>(true, "oneOf");
    definitions.extend(more);
    let (answers, more) = parts::<Answer>(true, "anyOf");
    definitions.extend(more);
    let methods: Vec<Value> = calls.iter().map(|call| method(call, &answers)).collect();
    let notices: Vec<Value> = notices.iter().map(notification).collect();
    let errors: Map<String, Value> = ERRORS
        .iter()
        .map(|(code, message)| {
            let error = json!({ "code": code, "message": message });
            (code.to_string(), error)
        })
        .collect();
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "The daemon of whist",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON-RPC 2.0 over a Unix socket, one object a line. Calls of one \
                connection run side by side. A notification is a request without an id, from the \
                daemon; `x-notifications` lists them.",
        },
        "methods": methods,
        "x-notifications": notices,
        "components": { "schemas": definitions, "errors": errors },
    })
}

/// The alternatives of an enum, and the definitions that they refer to.
fn parts<T: JsonSchema>(written: bool, among: &str) -> (Vec<Value>, Map<String, Value>) {
    let mut settings = SchemaSettings::draft07();
    settings.meta_schema = None;
    settings.definitions_path = DEFINITIONS.into();
    if written {
        settings = settings.for_serialize();
    }
    let root = settings.into_generator().into_root_schema_for::<T>();
    let mut root = root.to_value();
    let parts = root.get_mut(among).map(Value::take);
    let parts = parts.and_then(|parts| match parts {
        Value::Array(parts) => Some(parts),
        _ => None,
    });
    let definitions = root.pointer_mut(DEFINITIONS).map(Value::take);
    let definitions = definitions.and_then(|found| match found {
        Value::Object(found) => Some(found),
        _ => None,
    });
    (parts.unwrap_or_default(), definitions.unwrap_or_default())
}

fn name_of(part: &Value) -> &str {
    let method = part.pointer("/properties/method");
    let exact = method.and_then(|m| m.get("const").or_else(|| m.pointer("/enum/0")));
    exact.and_then(Value::as_str).unwrap_or_default()
}

fn summary_of(part: &Value) -> &Value {
    part.get("description").unwrap_or(&Value::Null)
}

fn method(call: &Value, answers: &[Value]) -> Value {
    let name = name_of(call);
    let none = Map::new();
    let params = call.pointer("/properties/params");
    let required = params
        .and_then(|p| p.get("required"))
        .and_then(Value::as_array);
    let properties = params
        .and_then(|p| p.get("properties"))
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let params: Vec<Value> = properties
        .iter()
        .map(|(name, schema)| {
            let needed = required.is_some_and(|r| r.iter().any(|n| n == name));
            json!({
                "name": name,
                "summary": summary_of(schema),
                "required": needed,
                "schema": schema,
            })
        })
        .collect();
    let answer = METHODS.iter().find(|(method, _)| *method == name);
    let answer = answer.map_or("", |(_, answer)| answer);
    let result = answers
        .iter()
        .find(|part| part.get("title").and_then(Value::as_str) == Some(answer));
    let errors: Vec<Value> = ERRORS
        .iter()
        .map(|(code, _)| json!({ "$ref": format!("#/components/errors/{code}") }))
        .collect();
    json!({
        "name": name,
        "summary": summary_of(call),
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": answer, "schema": result },
        "errors": errors,
    })
}

fn notification(notice: &Value) -> Value {
    json!({
        "name": name_of(notice),
        "summary": summary_of(notice),
        "params": notice.pointer("/properties/params"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &Value) -> Vec<&str> {
        let list = list.as_array().unwrap();
        list.iter().map(|m| m["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_schema_has_every_method_with_its_answer_and_what_each_means() {
        let document = document();
        let listed = METHODS.map(|(name, _)| name);
        assert_eq!(names(&document["methods"]), listed);
        for method in document["methods"].as_array().unwrap() {
            assert!(method["summary"].is_string(), "{method}");
            assert!(method["result"]["schema"].is_object(), "{method}");
            for param in method["params"].as_array().unwrap() {
                assert!(param["summary"].is_string(), "{method}");
            }
        }
        for notice in document["x-notifications"].as_array().unwrap() {
            assert!(notice["name"].as_str().unwrap().starts_with("event."));
            assert!(notice["summary"].is_string() && notice["params"].is_object());
        }
    }

    #[test]
    fn every_reference_in_the_schema_resolves() {
        fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|field| walk(field, found));
                }
                Value::Array(list) => list.iter().for_each(|item| walk(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        walk(&document, &mut found);
        assert!(found.len() > METHODS.len());
        for reference in found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }

    #[test]
    fn errors_above_zero_are_the_exit_codes() {
        let codes: Vec<i64> = ERRORS
            .iter()
            .map(|(code, _)| *code)
            .filter(|c| *c > 0)
            .collect();
        assert_eq!(codes, (1..=8).collect::<Vec<i64>>());
    }
}

//! The socket's language: JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), one object a
//! line. Requests have an id, and there are no batches; notifications go from the daemon to who
//! subscribed. Error codes above zero are the exit codes that the command line ends with.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::call::{Call, METHODS, Notice};
use crate::limits::RPC_LINE_BYTES_MAX;

/// The line is not JSON.
pub const PARSE_ERROR: i64 = -32_700;
/// The JSON is not a request.
pub const INVALID_REQUEST: i64 = -32_600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// The method does not take these parameters.
pub const INVALID_PARAMS: i64 = -32_602;

/// A request, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// A number or a text; comes back with the answer.
    pub id: Value,
    /// What is asked.
    pub call: Call,
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Below zero: of the language; above: the exit code.
    pub code: i64,
    /// One clear line.
    pub message: String,
}

impl RpcError {
    /// An error with this code and line.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    jsonrpc: String,
    #[serde(rename = "id")]
    _id: Value,
    method: String,
    #[serde(default)]
    params: Option<Value>,
}

/// Reads one line. The error comes with the id to answer under, null if there is none.
pub fn parse(line: &[u8]) -> Result<Request, (Value, RpcError)> {
    let fail = |id, code, text: &str| (id, RpcError::new(code, text));
    if line.len() > RPC_LINE_BYTES_MAX {
        return Err(fail(Value::Null, INVALID_REQUEST, "the line is too long"));
    }
    let value: Value = serde_json::from_slice(line)
        .map_err(|_| fail(Value::Null, PARSE_ERROR, "the line is not JSON"))?;
    let id = value.get("id").filter(|id| id.is_u64() || id.is_string());
    let id = id.cloned().unwrap_or(Value::Null);
    let envelope: Envelope = serde_json::from_value(value)
        .map_err(|_| fail(id.clone(), INVALID_REQUEST, "not a JSON-RPC 2.0 request"))?;
    if envelope.jsonrpc != "2.0" || id.is_null() {
        return Err(fail(
            id,
            INVALID_REQUEST,
            "not a JSON-RPC 2.0 request with an id",
        ));
    }
    if !METHODS.iter().any(|(name, _)| *name == envelope.method) {
        return Err(fail(id, METHOD_NOT_FOUND, "there is no such method"));
    }
    let params = envelope
        .params
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    // Moved and not copied: a secret may stand in it.
    let method = Value::from(envelope.method);
    let call = [("method".to_owned(), method), ("params".to_owned(), params)];
    match serde_json::from_value(Value::Object(call.into_iter().collect())) {
        Ok(call) => Ok(Request { id, call }),
        Err(error) => Err((id, RpcError::new(INVALID_PARAMS, error.to_string()))),
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    id: u64,
    jsonrpc: &'static str,
    #[serde(flatten)]
    call: &'a Call,
}

#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
    id: &'a Value,
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
}

/// Writes a request as a line, without the line's end.
pub fn request(id: u64, call: &Call) -> Zeroizing<String> {
    let jsonrpc = "2.0";
    line(&Asked { id, jsonrpc, call })
}

/// Writes an answer as a line, without the line's end.
pub fn response(id: &Value, result: Result<impl Serialize, RpcError>) -> Zeroizing<String> {
    let (error, result) = match result {
        Ok(result) => (None, Some(result)),
        Err(error) => (Some(error), None),
    };
    line(&Told {
        error,
        id,
        jsonrpc: "2.0",
        result,
    })
}

/// A value as a line. It is written once, where there is room for all of it and for the line's end:
/// what grows is copied, and leaves in memory what nobody erases.
fn line(value: &impl Serialize) -> Zeroizing<String> {
    let mut bytes = Count(0);
    let _ = serde_json::to_writer(&mut bytes, value);
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.0.saturating_add(1)));
    let written = serde_json::to_writer(&mut *text, value);
    let text = written.map(|()| String::from_utf8(std::mem::take(&mut *text)));
    Zeroizing::new(text.ok().and_then(Result::ok).unwrap_or_default())
}

/// Counts what is written.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a notification as a line, without the line's end.
pub fn notification(notice: &Notice) -> String {
    let mut value = serde_json::to_value(notice).unwrap_or(Value::Null);
    if let Some(object) = value.as_object_mut() {
        object.insert("jsonrpc".into(), "2.0".into());
    }
    value.to_string()
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// Reads an answer.
pub fn parse_response(line: &[u8]) -> Result<Value, RpcError> {
    let answer: Answer = serde_json::from_slice(line)
        .map_err(|_| RpcError::new(1, "the daemon's answer cannot be read"))?;
    match (answer.result, answer.error) {
        (_, Some(error)) => Err(error),
        (Some(result), None) => Ok(result),
        (None, None) => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_command_line_writes_the_daemon_reads() {
        let calls = [
            Call::Send {
                contact: "bob".into(),
                text: "line one\nline two \u{1F0CF}".into(),
                reply_to: None,
                wait_s: 5,
            },
            Call::Contacts {},
            Call::Receive {
                contact: None,
                wait_s: 0,
            },
        ];
        for call in calls {
            let line = request(7, &call);
            assert!(!line.contains('\n'));
            let read = parse(line.as_bytes()).unwrap();
            assert_eq!((read.id, read.call), (Value::from(7), call));
        }
    }

    #[test]
    fn malformed_lines_get_the_errors_of_the_specification() {
        let cases: [(&[u8], i64); 9] = [
            (b"", PARSE_ERROR),
            (b"{", PARSE_ERROR),
            (b"\xff\xfe", PARSE_ERROR),
            (b"[]", INVALID_REQUEST),
            (br#"{"jsonrpc":"2.0","method":"status"}"#, INVALID_REQUEST),
            (
                br#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
                INVALID_REQUEST,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"status","x":1}"#,
                INVALID_REQUEST,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"burn"}"#,
                METHOD_NOT_FOUND,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"send","params":{"text":3}}"#,
                INVALID_PARAMS,
            ),
        ];
        for (line, code) in cases {
            assert_eq!(parse(line).unwrap_err().1.code, code, "{line:?}");
        }
        let long = vec![b' '; RPC_LINE_BYTES_MAX + 1];
        assert_eq!(parse(&long).unwrap_err().1.code, INVALID_REQUEST);
    }

    #[test]
    fn parameters_may_be_left_out_where_none_are_needed() {
        let line = br#"{"jsonrpc":"2.0","id":"a","method":"status"}"#;
        assert_eq!(parse(line).unwrap().call, Call::Status {});
    }

    #[test]
    fn an_error_reaches_the_command_line_with_its_exit_code() {
        let error = RpcError::new(5, "unknown contact: eve");
        let line = response(&Value::from(1), Err::<Value, _>(error));
        let error = parse_response(line.as_bytes()).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (5, "unknown contact: eve")
        );
    }

    #[test]
    fn a_line_is_written_in_one_place_with_room_for_its_end() {
        let call = Call::Search {
            words: "\n canary".repeat(2_000),
            contact: None,
        };
        for mut line in [request(1, &call), response(&Value::from(1), Ok(call))] {
            let place = line.as_ptr();
            assert!(line.len() > 17_000 && line.capacity() == line.len() + 1);
            line.push('\n');
            assert_eq!(line.as_ptr(), place, "it was copied");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&line);
            let _ = parse_response(&line);
        }
    }
}

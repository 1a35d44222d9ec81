//! Comma-separated values (RFC 4180): reading what people send, writing what they take away.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::ApiError;

/// One record and the line on which it begins, counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it begins.
    pub line: usize,
    /// Its fields.
    pub fields: Vec<String>,
}

/// A quoted field that never ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: a quoted field begins here and does not end; close it with a quotation mark")]
pub struct Unclosed {
    /// Where the field begins.
    pub line: usize,
}

/// Reads all records; empty lines are left out, and so is a byte order mark.
pub fn read(text: &str) -> Result<Vec<Record>, Unclosed> {
    let mut records = Vec::new();
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let (mut line, mut record_line) = (1, 1);
    let (mut fields, mut field) = (Vec::new(), String::new());
    loop {
        match chars.next() {
            Some('"') if field.is_empty() => {
                let opened = line;
                loop {
                    match chars.next() {
                        None => return Err(Unclosed { line: opened }),
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            field.push('"');
                        }
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                    }
                }
            }
            Some(',') => fields.push(std::mem::take(&mut field)),
            Some('\r') if chars.peek() == Some(&'\n') => {}
            end @ (Some('\n') | None) => {
                fields.push(std::mem::take(&mut field));
                if fields.iter().any(|field| !field.is_empty()) {
                    records.push(Record { line: record_line, fields: std::mem::take(&mut fields) });
                }
                fields.clear();
                if end.is_none() {
                    return Ok(records);
                }
                line += 1;
                record_line = line;
            }
            Some(c) => field.push(c),
        }
    }
}

/// Writes one record. A field that a spreadsheet would take for a formula gets an apostrophe in front: names and reasons
/// come from strangers.
pub fn write(out: &mut String, fields: &[&str]) {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
        if !formula && !field.contains([',', '"', '\n', '\r']) {
            out.push_str(field);
            continue;
        }
        out.push('"');
        if formula {
            out.push('\'');
        }
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    }
    out.push_str("\r\n");
}

/// An answer that is written while it is sent: `pages` gives piece after piece until there is no more. An error in the
/// middle breaks the transfer off, so that nobody takes a part for the whole.
pub fn download<F>(
    file: &'static str,
    header: &[&str],
    pages: impl FnOnce(mpsc::Sender<Result<String, ApiError>>) -> F,
) -> Response
where
    F: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel::<Result<String, ApiError>>(2);
    let mut first = String::new();
    write(&mut first, header);
    let (failed, work) = (sender.clone(), pages(sender.clone()));
    tokio::spawn(async move {
        if sender.send(Ok(first)).await.is_ok()
            && let Err(error) = work.await
        {
            let _ = failed.send(Err(error)).await;
        }
    });
    let mut response = Body::from_stream(ReceiverStream::new(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(file));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read_as_people_write_them() {
        let fields =
            |text: &str| read(text).unwrap().into_iter().map(|r| (r.line, r.fields)).collect::<Vec<_>>();
        let record =
            |line, fields: &[&str]| (line, fields.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (text, expected) in [
            ("", vec![]),
            ("a,b\n", vec![record(1, &["a", "b"])]),
            ("\u{feff}a,b\r\n\r\n,c", vec![record(1, &["a", "b"]), record(3, &["", "c"])]),
            ("\"a,\"\"b\"\"\nc\",d\ne", vec![record(1, &["a,\"b\"\nc", "d"]), record(3, &["e"])]),
        ] {
            assert_eq!(fields(text), expected, "{text:?}");
        }
        assert_eq!(read("a\n\"b"), Err(Unclosed { line: 2 }));
    }

    #[test]
    fn nothing_written_is_a_formula() {
        let mut out = String::new();
        write(&mut out, &["=1+1", "@x", "-2", "plain", "a,b"]);
        assert_eq!(out, "\"'=1+1\",\"'@x\",\"'-2\",plain,\"a,b\"\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(fields in prop::collection::vec("[a-z,\"\n ]{1,8}", 1..5)) {
            let mut out = String::new();
            write(&mut out, &fields.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(&read(&out).unwrap()[0].fields, &fields);
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".*") {
            let _ = read(&text);
        }
    }
}

//! What goes wrong with etcd, as sentences.
use super::Key;

/// What was read by one API.
#[derive(Debug, Default)]
pub struct Reading {
    pub cluster: Option<String>,
    pub revision: u64,
    pub keys: Vec<Key>,
    /// What of it is missing.
    pub gaps: Vec<Gap>,
}

/// A part that is missing: what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub what: String,
    pub why: String,
    pub hint: Option<String>,
}

/// Why an API was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This endpoint does not serve; another one may.
    Down(String),
    /// etcd is there and does not speak the API.
    Disabled,
    /// etcd says no, and every other member would.
    Refused { why: String, hint: String },
}

impl Failure {
    pub fn refused(why: impl Into<String>, hint: &str) -> Failure {
        Failure::Refused {
            why: why.into(),
            hint: hint.to_owned(),
        }
    }
}

pub const HINT_USER: &str = "--user NAME:PASSWORD";
pub const HINT_ROLE: &str = "a user with a role that may read it: --user NAME:PASSWORD";
pub const HINT_CA: &str = "--cacert FILE, the CA that signed etcd's certificate";
pub const HINT_CLIENT: &str = "--cert FILE --key FILE, a client certificate that etcd trusts";

/// All that an error and its causes say, once each.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.iter().any(|one| one.contains(&text)) {
            said.push(text);
        }
        cause = error.source();
    }
    said.join(": ")
}

/// What TLS' own words mean; `None` where it is nothing of TLS.
pub fn tls(said: &str) -> Option<Failure> {
    let has = |part: &str| said.contains(part);
    if has("UnknownIssuer") || has("BadSignature") || has("CaUsedAsEndEntity") {
        let why = format!("its certificate is signed by no CA that is trusted here ({said})");
        return Some(Failure::refused(why, HINT_CA));
    }
    if has("NotValidForName") || has("not valid for name") {
        let why = format!("its certificate is for another name than the endpoint's ({said})");
        let hint =
            "an endpoint by a name or address of the certificate, or --insecure-skip-tls-verify";
        return Some(Failure::refused(why, hint));
    }
    if has("Expired") || has("certificate expired") || has("NotValidYet") {
        let why = format!("its certificate is not valid now ({said})");
        return Some(Failure::refused(
            why,
            "renew the certificate, or --insecure-skip-tls-verify",
        ));
    }
    let client = [
        "CertificateRequired",
        "CertificateUnknown",
        "BadCertificate",
        "UnknownCA",
        "AccessDenied",
        "DecryptError",
    ];
    if has("received fatal alert") && client.iter().any(|alert| has(alert)) {
        let why = format!("it wants a client certificate that it trusts ({said})");
        return Some(Failure::refused(why, HINT_CLIENT));
    }
    if has("InvalidContentType") || has("corrupt message") {
        let why = format!("what answers speaks no TLS ({said})");
        return Some(Failure::refused(
            why,
            "an endpoint with http:// in place of https://",
        ));
    }
    None
}

/// What ureq's error means of `url`.
pub fn http(url: &str, error: &ureq::Error) -> Failure {
    let said = chain(error);
    if let Some(failure) = tls(&said) {
        return failure;
    }
    Failure::Down(match error {
        ureq::Error::Timeout(_) => format!("it gave no answer in time ({said})"),
        ureq::Error::Io(io) if hung_up(io) => closed(url),
        ureq::Error::Protocol(_) => format!("what it answers is no HTTP ({said})"),
        ureq::Error::HostNotFound => format!("its name cannot be resolved ({url})"),
        _ => said,
    })
}

/// What was sent and not read makes a reset of a close.
fn hung_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// A port of the other kind closes so: etcd says nothing to those who do not speak as it does.
fn closed(url: &str) -> String {
    match url.starts_with("https://") {
        true => "it closed the connection while TLS was set up: it may speak no TLS; try http://",
        false => "it closed the connection without an answer: it may speak TLS; try https://",
    }
    .to_owned()
}

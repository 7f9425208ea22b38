//! What it takes to be let in: certificates, a user, time-outs; for HTTP and for gRPC.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tonic::transport::Endpoint;
use ureq::tls::{ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::discover::Sources;
use super::error::{Failure, Gap, chain, tls};
use super::options::{Options, TlsFiles, Url, User};

/// Longest file of certificates.
const LONGEST_FILE: u64 = 1024 * 1024;
/// Where systems keep the CAs that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// For all of one answer: no keyspace is waited for longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

pub struct Access {
    /// CAs in PEM; the system's where none was named.
    roots: Vec<u8>,
    /// A client certificate with its key, in PEM.
    client: Option<(Vec<u8>, Vec<u8>)>,
    insecure: bool,
    pub user: Option<User>,
    pub dial: Duration,
    pub command: Duration,
}

impl Access {
    /// What it takes for these sources, and each endpoint as connections want it.
    pub fn to(sources: &Sources, options: &Options) -> Result<(Access, Vec<String>), Gap> {
        let default = !sources.tls.is_empty();
        let speaks_tls = |url: &Url| url.tls.unwrap_or(default);
        let any_tls = sources.endpoints.iter().any(|one| speaks_tls(&one.url));
        let mut access = Access::load(&sources.tls, any_tls)?;
        let in_url = sources
            .endpoints
            .iter()
            .find_map(|one| one.url.user.clone());
        access.user = options.user.clone().or(in_url);
        access.dial = options.dial_timeout;
        access.command = options.command_timeout;
        let endpoints = sources.endpoints.iter();
        let bases = endpoints.map(|one| one.url.base(default)).collect();
        Ok((access, bases))
    }

    /// Reads the files; the system's CAs only where an endpoint speaks TLS.
    fn load(files: &TlsFiles, any_tls: bool) -> Result<Access, Gap> {
        let roots = match &files.cacert {
            Some(path) => pem(path, "--cacert", "the CA's certificate")?,
            None if any_tls && !files.insecure => system_roots(),
            None => Vec::new(),
        };
        let client = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => Some((
                pem(cert, "--cert", "the client certificate")?,
                pem(key, "--key", "the client certificate's key")?,
            )),
            _ => None,
        };
        let access = Access {
            roots,
            client,
            insecure: files.insecure,
            user: None,
            dial: Duration::from_secs(1),
            command: Duration::from_secs(1),
        };
        access.client_certificate().map_err(|why| Gap {
            what: "etcd".to_owned(),
            why,
            hint: Some("--cert and --key in PEM".to_owned()),
        })?;
        Ok(access)
    }

    fn client_certificate(&self) -> Result<Option<ClientCert>, String> {
        let Some((cert, key)) = &self.client else {
            return Ok(None);
        };
        let chain = certificates(cert);
        if chain.is_empty() {
            return Err("the file of --cert has no certificate in PEM".to_owned());
        }
        let key = PrivateKey::from_pem(key)
            .map_err(|error| format!("the file of --key has no private key in PEM ({error})"))?;
        Ok(Some(ClientCert::new_with_certs(&chain, key)))
    }

    /// For HTTP/1.1.
    pub fn agent(&self, first_word: Duration) -> ureq::Agent {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&certificates(&self.roots)))
            .client_cert(self.client_certificate().unwrap_or_default())
            .disable_verification(self.insecure)
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            // The environment's proxy is not on etcd's side of anything.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(self.dial))
            .timeout_connect(Some(self.dial))
            .timeout_recv_response(Some(first_word))
            .timeout_per_read(Some(self.command))
            .timeout_global(Some(LONGEST_ANSWER))
            .build()
            .new_agent()
    }

    /// For gRPC, at `http://…` or `https://…`.
    pub fn endpoint(&self, base: &str) -> Result<Endpoint, Failure> {
        let failed = |error: tonic::transport::Error| {
            let said = chain(&error);
            tls(&said).unwrap_or(Failure::Down(said))
        };
        let endpoint = Endpoint::from_shared(base.to_owned())
            .map_err(failed)?
            .connect_timeout(self.dial);
        if !base.starts_with("https://") {
            return Ok(endpoint);
        }
        let mut options = TlsOptions::new();
        if let Some((cert, key)) = &self.client {
            options = options.identity(Identity::from_pem(cert, key));
        }
        match self.insecure {
            true => endpoint.tls_config_with_verifier(options, Arc::new(AnyCertificate::new())),
            false => {
                endpoint.tls_config(options.ca_certificate(Certificate::from_pem(&self.roots)))
            }
        }
        .map_err(failed)
    }
}

fn pem(path: &Path, option: &str, what: &str) -> Result<Vec<u8>, Gap> {
    let failed = |why: String| Gap {
        what: "etcd".to_owned(),
        why: format!("{what}, {}, cannot be read: {why}", path.display()),
        hint: Some(format!("{option} FILE")),
    };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !length.is_file() || length.len() > LONGEST_FILE {
        return Err(failed("it is no file of at most 1 MiB".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    if parse_pem(&bytes).flatten().next().is_none() {
        return Err(failed("nothing in it is PEM".to_owned()));
    }
    Ok(bytes)
}

fn certificates(pem: &[u8]) -> Vec<ureq::tls::Certificate<'static>> {
    let items = parse_pem(pem).flatten();
    items
        .filter_map(|item| match item {
            PemItem::Certificate(one) => Some(one),
            _ => None,
        })
        .collect()
}

fn system_roots() -> Vec<u8> {
    let own = std::env::var("SSL_CERT_FILE").ok();
    let mut files = own.iter().map(String::as_str).chain(BUNDLES);
    files
        .find_map(|file| std::fs::read(file).ok())
        .unwrap_or_default()
}

/// Takes any certificate, for --insecure-skip-tls-verify.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    fn new() -> AnyCertificate {
        AnyCertificate(Arc::new(rustls::crypto::ring::default_provider()))
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! How etcd is asked: what the command line says, and etcdctl's environment where it is silent.
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// Port of etcd's clients (IANA).
const PORT: u16 = 2379;

/// How etcd is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// As the person names them; none: those that are found.
    pub endpoints: Vec<Named>,
    pub api: Which,
    /// As the person names them; none: flannel's default and those of the daemons found.
    pub prefixes: Vec<String>,
    pub tls: TlsFiles,
    pub user: Option<User>,
    /// For the connection and the first word of each endpoint; all are tried side by side.
    pub dial_timeout: Duration,
    /// For each further answer.
    pub command_timeout: Duration,
    /// A dump to read in place of etcd.
    pub keys: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoints: Vec::new(),
            api: Which::Auto,
            prefixes: Vec::new(),
            tls: TlsFiles::default(),
            user: None,
            dial_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(1),
            keys: None,
        }
    }
}

/// Which of etcd's APIs are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Both: their keys are not the same
    #[default]
    Auto,
    V2,
    V3,
}

/// An endpoint, and who names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub url: Url,
    pub by: String,
}

/// Files for TLS, each as etcdctl's option of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub insecure: bool,
}

impl TlsFiles {
    pub fn is_empty(&self) -> bool {
        *self == TlsFiles::default()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: String,
}

/// Without the password: what is printed by chance tells nothing.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish()
    }
}

/// Address of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether `https` was asked for; absent where no scheme was given.
    pub tls: Option<bool>,
    /// A name or an address; of IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// What stood before an `@`.
    pub user: Option<User>,
}

impl Url {
    /// As connections want it. Without a scheme it is https where there are options of TLS.
    pub fn base(&self, tls: bool) -> String {
        let scheme = match self.tls.unwrap_or(tls) {
            true => "https",
            false => "http",
        };
        format!("{scheme}://{}", self.authority())
    }

    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Never with user and password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base(false))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Url {
    type Err = String;

    /// Takes `http://10.1.1.95:2379`, `https://[fd00::1]:2379/`, `etcd1:4001`, `10.1.1.95`.
    fn from_str(text: &str) -> Result<Url, String> {
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}` is no scheme of etcd; http and https are"
                ));
            }
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user_of(user)), rest),
            None => (None, rest),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wanted = "an endpoint is http://HOST:PORT";
        let (host, port) = host_and_port(rest).ok_or_else(|| format!("`{rest}`: {wanted}"))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
        if host.is_empty() || !(is_address || host.chars().all(is_name)) {
            return Err(format!("`{host}` is no host; {wanted}"));
        }
        Ok(Url {
            tls,
            host: host.to_owned(),
            port,
            user,
        })
    }
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, port_of(port)?)),
            None => port.is_empty().then_some((host, PORT)),
        };
    }
    match text.rsplit_once(':') {
        // More than one colon: an IPv6 address without brackets.
        Some((host, _)) if host.contains(':') => Some((text, PORT)),
        Some((host, port)) => Some((host, port_of(port)?)),
        None => Some((text, PORT)),
    }
}

fn port_of(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

fn user_of(text: &str) -> User {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    User {
        name: name.to_owned(),
        password: password.to_owned(),
    }
}

/// A span as Go writes it and etcdctl takes it: `5s`, `500ms`, `1m30s`, `1.5s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("`{text}` is no time; 5s, 500ms and 1m30s are");
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let value: f64 = rest[..number].parse().map_err(|_| wanted())?;
        rest = &rest[number..];
        let unit = rest.len()
            - rest
                .trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')
                .len();
        sum += value
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(wanted()),
            };
        rest = &rest[unit..];
    }
    match sum > 0.0 && sum <= 3600.0 {
        true => Ok(Duration::from_secs_f64(sum)),
        false => Err(format!("`{text}`: a time above 0 and up to 1h is wanted")),
    }
}

/// What the command line says of etcd.
pub struct Said<'a> {
    pub endpoints: &'a [String],
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    pub options: Options,
}

impl Options {
    /// Whether a registry or a file of keys was named.
    pub fn is_named(&self) -> bool {
        !self.endpoints.is_empty() || self.keys.is_some()
    }

    /// The command line's, and etcdctl's variables where it says nothing.
    pub fn of(said: Said<'_>, env: impl Fn(&str) -> Option<String>) -> Result<Options> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut options = said.options;
        if options.keys.is_some() {
            return Ok(options);
        }
        for (texts, by) in [
            (said.endpoints.to_vec(), "--etcd"),
            (
                env("ETCDCTL_ENDPOINTS").into_iter().collect(),
                "ETCDCTL_ENDPOINTS",
            ),
        ] {
            if options.endpoints.is_empty() {
                options.endpoints = named(&texts, by)?;
            }
        }
        let path = |name: &str| env(name).map(PathBuf::from);
        let tls = &mut options.tls;
        tls.cacert = tls.cacert.take().or_else(|| path("ETCDCTL_CACERT"));
        // A pair is taken from one place: a certificate never meets another's key.
        if tls.cert.is_none() && tls.key.is_none() {
            tls.cert = path("ETCDCTL_CERT");
            tls.key = path("ETCDCTL_KEY");
        }
        match (&tls.cert, &tls.key) {
            (Some(_), None) => bail!("a client certificate needs its key: add --key FILE"),
            (None, Some(_)) => bail!("a key needs its client certificate: add --cert FILE"),
            _ => {}
        }
        options.user = user(said.user, said.password, &env)?;
        Ok(options)
    }
}

fn named(texts: &[String], by: &str) -> Result<Vec<Named>> {
    let mut endpoints = Vec::new();
    for text in texts.iter().flat_map(|texts| texts.split(',')) {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        match text.parse() {
            Ok(url) => endpoints.push(Named {
                url,
                by: by.to_owned(),
            }),
            Err(why) => bail!("{by}: {why}"),
        }
    }
    if endpoints.is_empty() && !texts.is_empty() {
        bail!("{by} names no endpoint; http://10.1.1.95:2379 is one");
    }
    Ok(endpoints)
}

fn user(
    name: Option<&str>,
    password: Option<&str>,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<User>> {
    let password = password.map(str::to_owned);
    let Some(name) = name.map(str::to_owned).or_else(|| env("ETCDCTL_USER")) else {
        match password {
            Some(_) => bail!("--password needs a name: add --user NAME"),
            None => return Ok(None),
        }
    };
    let password = password.or_else(|| match name.contains(':') {
        true => None,
        false => env("ETCDCTL_PASSWORD"),
    });
    match (name.split_once(':'), password) {
        (Some(_), Some(_)) => {
            bail!("the password is given twice: in --user NAME:PASSWORD and by --password")
        }
        (Some(_), None) => Ok(Some(user_of(&name))),
        (None, Some(password)) => Ok(Some(User { name, password })),
        (None, None) => bail!(
            "the user {name} has no password here, and netdig does not ask for one: \
             give --user {name}:PASSWORD, --password or ETCDCTL_PASSWORD"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_as_people_write_them() {
        for (text, base) in [
            ("http://10.1.1.95:2379", "http://10.1.1.95:2379"),
            ("https://[fd00::1]:4001/", "https://[fd00::1]:4001"),
            ("etcd1", "http://etcd1:2379"),
            ("HTTP://u:p@etcd1:80", "http://etcd1:80"),
            ("::1", "http://[::1]:2379"),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!(url.to_string(), base);
            assert!(!format!("{url:?}").contains("u:p"));
        }
        let bare: Url = "etcd1:2379".parse().expect("an endpoint");
        assert_eq!(bare.base(true), "https://etcd1:2379");
        for text in [
            "",
            "http://",
            "ftp://a",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "[::1",
            "http://a/b",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_as_go_writes_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for text in ["", "5", "s", "-1s", "0s", "1d", "1.2.3s", "99h", "NaNs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    fn of(said: Said<'_>, env: &[(&str, &str)]) -> Result<Options> {
        Options::of(said, |name| {
            let mut env = env.iter();
            env.find(|(one, _)| *one == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn said<'a>(
        endpoints: &'a [String],
        user: Option<&'a str>,
        password: Option<&'a str>,
    ) -> Said<'a> {
        Said {
            endpoints,
            user,
            password,
            options: Options::default(),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let env = [
            ("ETCDCTL_ENDPOINTS", "http://e:1,http://f:2"),
            ("ETCDCTL_USER", "root"),
            ("ETCDCTL_PASSWORD", "top"),
            ("ETCDCTL_CACERT", "/ca"),
        ];
        let options = of(said(&[], None, None), &env).expect("options");
        assert_eq!(options.endpoints.len(), 2);
        assert_eq!(options.endpoints[0].by, "ETCDCTL_ENDPOINTS");
        assert_eq!(options.tls.cacert, Some(PathBuf::from("/ca")));
        let user = options.user.expect("a user");
        assert_eq!(
            (user.name.as_str(), user.password.as_str()),
            ("root", "top")
        );
        let named = ["http://g:3".to_owned()];
        let options = of(said(&named, Some("a:b"), None), &env).expect("options");
        assert_eq!(options.endpoints[0].by, "--etcd");
        assert_eq!(options.user.expect("a user").password, "b");
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |said: Said<'_>, env: &[(&str, &str)], part: &str| {
            let error = of(said, env).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(said(&[], None, Some("p")), &[], "--user NAME");
        refused(said(&[], Some("a"), None), &[], "--user a:PASSWORD");
        refused(said(&[], Some("a:b"), Some("c")), &[], "twice");
        refused(
            said(&["ftp://a".to_owned()], None, None),
            &[],
            "--etcd: `ftp`",
        );
        refused(
            said(&[",".to_owned()], None, None),
            &[],
            "names no endpoint",
        );
        refused(
            said(&[], None, None),
            &[("ETCDCTL_CERT", "/c")],
            "--key FILE",
        );
        refused(
            said(&[], None, None),
            &[("ETCDCTL_KEY", "/k")],
            "--cert FILE",
        );
    }
}

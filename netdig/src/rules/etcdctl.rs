//! Commands of etcdctl as they work on this host: the API, the endpoints that answered, what it
//! takes to be let in, and the verb that the API has for it.
use super::View;
use super::renumber::{operand, quoted};
use super::view::Overlay;
use crate::context::flannel::Origin;
use crate::context::registry::{ApiVersion, Endpoint, Registry};

/// What etcdctl is to do.
#[derive(Debug, Clone, Copy)]
pub enum Verb {
    Get,
    /// Get the value and nothing else.
    Value,
    /// Name all keys below one.
    List,
    Put,
    /// Put where there is no such key: of v3 a transaction, on standard input.
    Create,
    Delete,
    Health,
}

impl Verb {
    const fn words(self, api: ApiVersion) -> &'static str {
        match (api, self) {
            (ApiVersion::V2, Verb::Get | Verb::Value) => "get",
            (ApiVersion::V2, Verb::List) => "ls",
            (ApiVersion::V2, Verb::Put) => "set",
            (ApiVersion::V2, Verb::Create) => "mk",
            (ApiVersion::V2, Verb::Delete) => "rm",
            (ApiVersion::V2, Verb::Health) => "cluster-health",
            (ApiVersion::V3, Verb::Get) => "get",
            (ApiVersion::V3, Verb::Value) => "get --print-value-only",
            (ApiVersion::V3, Verb::List) => "get --prefix",
            (ApiVersion::V3, Verb::Put) => "put",
            (ApiVersion::V3, Verb::Create) => "txn",
            (ApiVersion::V3, Verb::Delete) => "del",
            (ApiVersion::V3, Verb::Health) => "endpoint health",
        }
    }
}

/// The command that asks for the user's password, with ` && ` behind it; nothing without a user.
fn ask(view: &View<'_>) -> String {
    let user = view.context.registry.login.user.as_deref();
    user.map_or_else(String::new, |user| {
        let prompt = quoted(&format!("{user}'s password in etcd: "));
        format!("read -rsp {prompt} PW && ")
    })
}

/// `ETCDCTL_API=3 etcdctl --endpoints http://10.1.1.95:2379 put`, as the API wants it.
pub fn etcdctl(view: &View<'_>, api: ApiVersion, verb: Verb) -> String {
    command(view, api, verb, "")
}

/// The same where its output is captured or its input fed: etcdctl would print its question
/// among the output, and take the answer from the input. The password is in `$PW`.
pub fn unasked(view: &View<'_>, api: ApiVersion, verb: Verb) -> String {
    command(view, api, verb, ":\"$PW\"")
}

fn command(view: &View<'_>, api: ApiVersion, verb: Verb, password: &str) -> String {
    let registry = &view.context.registry;
    let number = match api {
        ApiVersion::V2 => 2,
        ApiVersion::V3 => 3,
    };
    let endpoints = match answering(registry) {
        urls if urls.is_empty() => String::new(),
        urls => format!(" --endpoints {}", quoted(&urls.join(","))),
    };
    let login = login(registry, api, password);
    let verb = verb.words(api);
    format!("ETCDCTL_API={number} etcdctl{endpoints}{login} {verb}")
}

/// Those that answered; one that refuses one of the APIs has told its version at least. None
/// where the keys are from a file.
fn answering(registry: &Registry) -> Vec<&str> {
    let endpoints = || registry.endpoints.iter().filter(|one| !one.is_file());
    let urls = |wanted: fn(&Endpoint) -> bool| {
        let wanted = endpoints().filter(|one| wanted(one));
        wanted.map(|one| one.url.as_str()).collect::<Vec<_>>()
    };
    let well = urls(|one| one.error.is_none());
    match well.is_empty() {
        true => urls(|one| one.version.is_some()),
        false => well,
    }
}

/// Options of certificates and of the user; etcdctl asks for a password that it is not given.
fn login(registry: &Registry, api: ApiVersion, password: &str) -> String {
    let login = &registry.login;
    let [cacert, cert, key, user] = match api {
        ApiVersion::V2 => ["--ca-file", "--cert-file", "--key-file", "--username"],
        ApiVersion::V3 => ["--cacert", "--cert", "--key", "--user"],
    };
    let given = [
        (cacert, &login.cacert, ""),
        (cert, &login.cert, ""),
        (key, &login.key, ""),
        (user, &login.user, password),
    ];
    let given = given.into_iter().filter_map(|(option, value, behind)| {
        let value = value.as_deref()?;
        Some(format!(" {option} {}{behind}", quoted(value)))
    });
    let mut options: String = given.collect();
    // v2's etcdctl has no such option.
    if login.insecure && api == ApiVersion::V3 {
        options.push_str(" --insecure-skip-tls-verify");
    }
    options
}

/// The command that writes a value.
pub fn put(view: &View<'_>, api: ApiVersion, key: &str, value: &str) -> String {
    let command = etcdctl(view, api, Verb::Put);
    format!("{command} {} {}", operand(key), quoted(value))
}

/// The command that writes to one key what stands in another one, or in the same: nothing where
/// the first cannot be read, since an empty value is worse than none.
pub fn copy(view: &View<'_>, from: (ApiVersion, &str), to: (ApiVersion, &str)) -> String {
    let ask = ask(view);
    let get = unasked(view, from.0, Verb::Value);
    let put = unasked(view, to.0, Verb::Put);
    format!(
        "{ask}value=\"$({get} {})\" && [ -n \"$value\" ] && {put} {} \"$value\"",
        operand(from.1),
        operand(to.1)
    )
}

/// The command that deletes a key.
pub fn delete(view: &View<'_>, origin: &Origin) -> String {
    let command = etcdctl(view, origin.api, Verb::Delete);
    format!("{command} {}", operand(&origin.key))
}

/// The store that an overlay's keys stand in.
pub fn api(view: &View<'_>, overlay: &Overlay<'_>) -> ApiVersion {
    let config = overlay.config.as_ref().map(|config| config.origin.api);
    let lease = overlay.leases.first().map(|lease| lease.origin.api);
    config.or(lease).unwrap_or_else(|| read_api(view))
}

/// The store that answers: v2 where it alone does.
pub fn read_api(view: &View<'_>) -> ApiVersion {
    let registry = &view.context.registry;
    match registry.v2.is_read() && !registry.v3.is_read() {
        true => ApiVersion::V2,
        false => ApiVersion::V3,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::*;
    use crate::context::registry::Login;

    fn command(registry: Registry, api: ApiVersion, verb: Verb) -> String {
        let mut context = context("");
        context.registry = registry;
        etcdctl(&View::new(&context, None), api, verb)
    }

    fn endpoint(url: &str, version: Option<&str>, error: Option<&str>) -> Endpoint {
        Endpoint {
            url: url.to_owned(),
            version: version.map(str::to_owned),
            error: error.map(str::to_owned),
            ..Endpoint::default()
        }
    }

    #[test]
    fn it_says_all_that_it_takes_to_be_let_in() {
        let registry = Registry {
            endpoints: vec![
                endpoint("https://10.1.1.95:2379", Some("3.4.23"), None),
                endpoint("https://10.1.1.96:2379", None, Some("it is down")),
            ],
            login: Login {
                cacert: Some("/etc/ca of etcd.pem".to_owned()),
                cert: Some("/c.pem".to_owned()),
                key: Some("/k.pem".to_owned()),
                insecure: true,
                user: Some("root".to_owned()),
            },
            ..Registry::default()
        };
        assert_eq!(
            command(registry.clone(), ApiVersion::V3, Verb::List),
            "ETCDCTL_API=3 etcdctl --endpoints https://10.1.1.95:2379 --cacert '/etc/ca of \
             etcd.pem' --cert /c.pem --key /k.pem --user root --insecure-skip-tls-verify get \
             --prefix"
        );
        assert_eq!(
            command(registry, ApiVersion::V2, Verb::Delete),
            "ETCDCTL_API=2 etcdctl --endpoints https://10.1.1.95:2379 --ca-file '/etc/ca of \
             etcd.pem' --cert-file /c.pem --key-file /k.pem --username root rm"
        );
    }

    #[test]
    fn a_captured_command_does_not_ask_for_the_password() {
        let mut context = context("");
        let key = (ApiVersion::V3, "/a/config");
        let to = (ApiVersion::V2, "/b/config");
        let without = copy(&View::new(&context, None), key, to);
        assert!(
            without.starts_with("value=\"$(ETCDCTL_API=3 etcdctl get "),
            "{without}"
        );
        context.registry.login.user = Some("o'x".to_owned());
        assert_eq!(
            copy(&View::new(&context, None), key, to),
            r#"read -rsp 'o'\''x'\''s password in etcd: ' PW && value="$(ETCDCTL_API=3 etcdctl --user 'o'\''x':"$PW" get --print-value-only /a/config)" && [ -n "$value" ] && ETCDCTL_API=2 etcdctl --username 'o'\''x':"$PW" set /b/config "$value""#
        );
    }

    #[test]
    fn a_file_of_keys_is_no_endpoint_and_a_refusing_one_is() {
        let mut file = endpoint("keys.json", None, None);
        file.named_by = "--keys".to_owned();
        let of = |endpoint| Registry {
            endpoints: vec![endpoint],
            ..Registry::default()
        };
        assert_eq!(
            command(of(file), ApiVersion::V3, Verb::Get),
            "ETCDCTL_API=3 etcdctl get"
        );
        let refusing = endpoint("http://e:2379", Some("3.4.23"), Some("by API v3: no"));
        assert_eq!(
            command(of(refusing), ApiVersion::V2, Verb::Get),
            "ETCDCTL_API=2 etcdctl --endpoints http://e:2379 get"
        );
        let silent = endpoint("http://e:2379", None, Some("nobody answers"));
        assert_eq!(
            command(of(silent), ApiVersion::V2, Verb::Put),
            "ETCDCTL_API=2 etcdctl set"
        );
    }
}

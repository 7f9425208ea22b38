//! Which keys are upstreams of which service: by the layouts that are known, and by the shape of
//! what is left.
use std::collections::{BTreeMap, BTreeSet};

use super::value::{is_path, of_json, of_server, of_url, says_nothing, shown};
use super::{Host, Schema, Service, Services, Target, Upstream};
use crate::context::registry::{ApiVersion, Key};

/// Folders of systems that keep no upstreams in them.
const OTHERS: [&str; 6] = [
    "/coreos.com/network/",
    "/registry/",
    "/calico/",
    "/docker/network/",
    "/kubernetes.io/",
    "/skydns/config",
];
/// Where confd's image for haproxy has its keys. Elsewhere `services/web/domain` alone may be
/// any program's setting, and its upstreams may be URLs.
const HAPROXY: &str = "/haproxy-discover/";
/// Names of folders that hold the members of a set.
const SETS: [&str; 9] = [
    "backends",
    "endpoints",
    "instances",
    "members",
    "nodes",
    "peers",
    "servers",
    "upstreams",
    "workers",
];

/// What a key is to its layout.
enum Is {
    Upstream,
    Domain,
    /// Something of a service, or its empty folder: that it is there.
    There,
}

/// A key's place in a layout.
struct Place<'k> {
    schema: Schema,
    /// The service's folder.
    folder: &'k str,
    /// The service's and the upstream's names.
    service: &'k str,
    upstream: &'k str,
    is: Is,
}

impl<'a> Services<'a> {
    /// The services that `keys` tell of; with `forced` they are read as that layout has them,
    /// and `prefix` is where it begins.
    pub fn of(
        keys: impl IntoIterator<Item = &'a Key>,
        prefix: &str,
        forced: Option<Schema>,
    ) -> Services<'a> {
        let mut known = BTreeMap::new();
        let mut folders: BTreeMap<(ApiVersion, &str), Vec<&Key>> = BTreeMap::new();
        for key in keys {
            if !is_below(&key.key, prefix) || is_others(&key.key) {
                continue;
            }
            let place = place(key, prefix, forced);
            match place.filter(|place| forced.is_none_or(|one| one == place.schema)) {
                Some(place) => add(&mut known, key, &place),
                None if forced.is_some_and(|one| one != Schema::Shape) => {}
                None => {
                    if let Some((folder, _)) = leaf(key) {
                        folders.entry((key.api, folder)).or_default().push(key);
                    }
                }
            }
        }
        let by_shape = folders.into_iter().filter_map(|((_, folder), keys)| {
            let sure = forced == Some(Schema::Shape);
            by_shape(folder, &keys, sure)
        });
        let mut all: Vec<Service<'_>> = by_shape.collect();
        let sets: BTreeSet<String> = known
            .values()
            .filter(|one| !one.upstreams.is_empty())
            .map(|one| parent(&one.place).to_owned())
            .collect();
        let known = known.into_values().filter(|one: &Service<'_>| {
            let beside = sets.contains(parent(&one.place));
            let own = one.schema != Schema::HaproxyConfd || one.place.starts_with(HAPROXY);
            !one.upstreams.is_empty() || own || beside || forced.is_some()
        });
        all.extend(known.map(unwrapped));
        all.sort_by(|a, b| (&a.place, a.api).cmp(&(&b.place, b.api)));
        Services {
            prefix: prefix.to_owned(),
            all,
        }
    }
}

fn parent(place: &str) -> &str {
    place.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_below(key: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    match key.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Whether it is of a system that keeps no upstreams there; keys of v3 may lack the first slash.
fn is_others(key: &str) -> bool {
    let key = key.trim_start_matches('/');
    OTHERS.iter().any(|one| key.starts_with(&one[1..]))
}

/// A key's folder and name.
fn leaf(key: &Key) -> Option<(&str, &str)> {
    if key.directory {
        return None;
    }
    let (folder, name) = key.key.rsplit_once('/')?;
    (!folder.is_empty() && !name.is_empty()).then_some((folder, name))
}

fn place<'k>(key: &'k Key, prefix: &str, forced: Option<Schema>) -> Option<Place<'k>> {
    let text = key.key.as_str();
    let segments: Vec<&str> = text.split('/').filter(|one| !one.is_empty()).collect();
    let forced = |schema| forced == Some(schema);
    traefik(text, &segments)
        .or_else(|| vulcand(key, &segments, forced(Schema::Vulcand)))
        .or_else(|| sky_dns(key, &segments, forced(Schema::SkyDns)))
        .or_else(|| haproxy(key, &segments))
        .or_else(|| registrator(key, &segments, prefix, forced(Schema::Registrator)))
}

/// The part of a key that ends with its segment `segment`, which is a part of it.
fn until<'k>(key: &'k str, segment: &str) -> &'k str {
    let end = segment.as_ptr() as usize + segment.len() - key.as_ptr() as usize;
    &key[..end]
}

fn upstream<'k>(schema: Schema, folder: &'k str, service: &'k str, name: &'k str) -> Place<'k> {
    Place {
        schema,
        folder,
        service,
        upstream: name,
        is: Is::Upstream,
    }
}

/// `traefik/http/services/<s>/loadbalancer/servers/<n>/url`, of any case.
fn traefik<'k>(key: &'k str, segments: &[&'k str]) -> Option<Place<'k>> {
    let [.., kind, services, service, balancer, servers, name, field] = segments else {
        return None;
    };
    let same = |text: &str, words: &[&str]| words.iter().any(|one| text.eq_ignore_ascii_case(one));
    let fits = same(kind, &["http", "tcp", "udp"])
        && same(services, &["services"])
        && same(balancer, &["loadbalancer"])
        && same(servers, &["servers"])
        && same(field, &["url", "address"]);
    fits.then(|| upstream(Schema::Traefik, until(key, service), service, name))
}

/// `/vulcand/backends/<b>/backend` and `…/servers/<s>` with `{"URL":…}`.
fn vulcand<'k>(key: &'k Key, segments: &[&'k str], forced: bool) -> Option<Place<'k>> {
    let text = key.key.as_str();
    let own = forced || segments.contains(&"vulcand");
    match segments {
        [.., "backends", service, "servers", name]
            if own || key.value.text().and_then(of_json).is_some() =>
        {
            let folder = until(text, service);
            Some(upstream(Schema::Vulcand, folder, service, name))
        }
        [.., "backends", service, "backend"] if own => Some(Place {
            is: Is::There,
            ..upstream(Schema::Vulcand, until(text, service), service, "")
        }),
        _ => None,
    }
}

/// `/skydns/<reversed labels>/…` with `{host,port,…}`; addresses' own names (`arpa`) are none.
fn sky_dns<'k>(key: &'k Key, segments: &[&'k str], forced: bool) -> Option<Place<'k>> {
    let own = forced || segments.first() == Some(&"skydns");
    let [.., service, name] = segments else {
        return None;
    };
    if !own || *service == "skydns" || segments.contains(&"arpa") {
        return None;
    }
    of_json(key.value.text()?)?;
    let folder = until(&key.key, service);
    Some(upstream(Schema::SkyDns, folder, service, name))
}

/// `…/services/<s>/{domain,url_reg}` and `…/<s>/upstreams/<u>`.
fn haproxy<'k>(key: &'k Key, segments: &[&'k str]) -> Option<Place<'k>> {
    let text = key.key.as_str();
    let of = |service: &'k str, name, is| Place {
        is,
        ..upstream(Schema::HaproxyConfd, until(text, service), service, name)
    };
    let of_services = |one: &str| ["services", "tcp-services"].contains(&one);
    match segments {
        [.., service, "upstreams"] if key.directory => Some(of(service, "", Is::There)),
        [.., parent, service] if key.directory && of_services(parent) => {
            Some(of(service, "", Is::There))
        }
        _ if key.directory => None,
        [.., service, "upstreams", name] => Some(of(service, name, Is::Upstream)),
        [.., parent, service, "domain"] if of_services(parent) => Some(of(service, "", Is::Domain)),
        [.., parent, service, "url_reg"] if of_services(parent) => Some(of(service, "", Is::There)),
        _ => None,
    }
}

/// `<prefix>/<name>/<host:container:port>` = `ip:port`, with `:udp` behind.
fn registrator<'k>(
    key: &'k Key,
    segments: &[&'k str],
    prefix: &str,
    forced: bool,
) -> Option<Place<'k>> {
    let [.., service, name] = segments else {
        return None;
    };
    let parts: Vec<&str> = name.split(':').collect();
    let fits = match parts[..] {
        [host, container, port] | [host, container, port, "udp"] => {
            let letter = |text: &str| text.contains(|c: char| c.is_ascii_alphabetic());
            letter(container) && !host.is_empty() && port.parse::<u16>().is_ok()
        }
        _ => false,
    };
    let folder = until(&key.key, service);
    let below = folder.len() > prefix.trim_end_matches('/').len();
    let is_it = !key.directory && (fits || forced && below);
    is_it.then(|| upstream(Schema::Registrator, folder, service, name))
}

type Known<'a> = BTreeMap<(ApiVersion, String), Service<'a>>;

fn add<'a>(known: &mut Known<'a>, key: &'a Key, place: &Place<'_>) {
    // Traefik's keys are of any case, and one service still.
    let folder = match place.schema {
        Schema::Traefik => place.folder.to_ascii_lowercase(),
        _ => place.folder.to_owned(),
    };
    let service = known.entry((key.api, folder)).or_insert_with(|| Service {
        schema: place.schema,
        api: key.api,
        name: place.service.to_owned(),
        place: place.folder.to_owned(),
        domain: None,
        entry: None,
        upstreams: Vec::new(),
    });
    if !matches!(place.is, Is::Upstream) {
        service.entry = Some(key);
    }
    match place.is {
        Is::There => {}
        Is::Domain => service.domain = Some(shown(&key.value).trim().to_owned()),
        Is::Upstream => service.upstreams.push(Upstream {
            name: place.upstream.to_owned(),
            key,
            value: shown(&key.value),
            target: target(key, place.schema),
        }),
    }
}

fn target(key: &Key, schema: Schema) -> Target {
    let text = key.value.text().unwrap_or_default();
    let read = match schema {
        Schema::SkyDns | Schema::Vulcand => of_json(text),
        Schema::Traefik => of_url(text),
        Schema::HaproxyConfd | Schema::Registrator | Schema::Shape | Schema::Flannel => None,
    };
    match schema {
        // Its TCP services have addresses.
        Schema::Traefik | Schema::HaproxyConfd | Schema::Registrator => {
            read.unwrap_or_else(|| of_server(&key.value))
        }
        Schema::SkyDns | Schema::Vulcand => read.unwrap_or_else(|| {
            Target::Refused("it is no JSON object with a host or a URL".to_owned())
        }),
        Schema::Shape | Schema::Flannel => wrapped(text).unwrap_or_else(|| of_server(&key.value)),
    }
}

/// A URL or a JSON object.
fn wrapped(text: &str) -> Option<Target> {
    of_json(text).or_else(|| of_url(text))
}

/// Where all that is good of a service is URLs or JSON, who reads it wants that.
fn unwrapped(mut service: Service<'_>) -> Service<'_> {
    let plain = service.schema == Schema::HaproxyConfd || service.schema == Schema::Registrator;
    if !plain || service.place.starts_with(HAPROXY) {
        return service;
    }
    let read = |one: &Upstream<'_>| one.key.value.text().and_then(wrapped);
    let mut good = service
        .upstreams
        .iter()
        .filter(|one| !says_nothing(&one.value));
    if good.clone().next().is_some() && good.all(|one| read(one).is_some()) {
        for one in &mut service.upstreams {
            if let Some(target) = read(one) {
                one.target = target;
            }
        }
    }
    service
}

/// A folder most of whose keys are addresses with ports is a service. Without a name that says
/// so its keys have to be named alike: `db` and `cache` of a program's settings are no set.
fn by_shape<'a>(folder: &str, keys: &[&'a Key], sure: bool) -> Option<Service<'a>> {
    let named = names_a_set(folder);
    let read = keys.iter().filter_map(|key| {
        let (_, name) = key.key.rsplit_once('/')?;
        let value = shown(&key.value);
        Some((name, value, target(key, Schema::Shape), *key))
    });
    let all: Vec<_> = read.collect();
    let good: Vec<&str> = all
        .iter()
        .filter(|(_, value, target, _)| is_good(value, target))
        .map(|(name, ..)| *name)
        .collect();
    let first = *good.first()?;
    if !(named || sure) && good.len() < 2 {
        return None;
    }
    let is_member = |name: &str, value: &str, target: &Target| {
        (named || sure || alike(first, name)) && (is_good(value, target) || is_odd(value, target))
    };
    let upstreams: Vec<Upstream<'_>> = all
        .iter()
        .filter(|(name, value, target, _)| is_member(name, value, target))
        .map(|(name, value, target, key)| Upstream {
            name: (*name).to_owned(),
            key,
            value: value.clone(),
            target: target.clone(),
        })
        .collect();
    let members = good
        .iter()
        .filter(|name| named || sure || alike(first, name));
    let members = members.count();
    let most = 2 * members > upstreams.len() && 2 * members > keys.len();
    let enough = members >= if named || sure { 1 } else { 2 };
    (most && enough).then(|| Service {
        schema: Schema::Shape,
        api: upstreams[0].key.api,
        name: service_name(folder).to_owned(),
        place: folder.to_owned(),
        domain: None,
        entry: None,
        upstreams,
    })
}

/// `web` of `/lb/web/servers`.
fn service_name(folder: &str) -> &str {
    let mut segments = folder.rsplit('/').filter(|one| !one.is_empty());
    let last = segments.next().unwrap_or(folder);
    match is_set(last) {
        true => segments.next().unwrap_or(last),
        false => last,
    }
}

/// Whether a folder's name is one of members.
pub fn names_a_set(folder: &str) -> bool {
    folder.rsplit('/').next().is_some_and(is_set)
}

fn is_set(name: &str) -> bool {
    SETS.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Whether two names differ in their numbers only: `frontend1`, `frontend22`; so do identifiers.
pub fn alike(a: &str, b: &str) -> bool {
    let is_id =
        |text: &str| text.len() >= 8 && text.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-');
    let stem = |text: &str| {
        text.chars()
            .filter(|c| !c.is_ascii_digit())
            .collect::<String>()
    };
    is_id(a) && is_id(b) || stem(a) == stem(b)
}

/// An address or a host's name with a port, which is no clock's time and no MAC address.
fn is_good(value: &str, target: &Target) -> bool {
    let Target::Upstream {
        host,
        port: Some(_),
    } = target
    else {
        return false;
    };
    let value = value.trim();
    let spaced = value.contains(char::is_whitespace) && !value.starts_with('{');
    match host {
        Host::Address(ip) => {
            // `12:30` is an address to haproxy, and `2001:db8::80` in its form a prefix.
            let written = value.contains('.') || value.contains('[') || value.starts_with('{');
            !ip.is_unspecified() && !ip.is_loopback() && written && !spaced
        }
        Host::Name(name) => {
            !spaced && !is_path(name) && name.contains('.') || value.starts_with('{')
        }
        Host::Blank | Host::Any => false,
    }
}

/// What stands in an upstream's place without being one.
fn is_odd(value: &str, target: &Target) -> bool {
    match target {
        Target::Upstream { host, port } => match host {
            Host::Blank | Host::Any => true,
            Host::Address(ip) => {
                ip.is_unspecified() || ip.is_loopback() || port.is_none() && is_ip(value)
            }
            Host::Name(name) => name == "localhost",
        },
        Target::Refused(_) => {
            says_nothing(value) || value.trim().strip_suffix(':').is_some_and(is_ip)
        }
    }
}

fn is_ip(text: &str) -> bool {
    text.trim().parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;

//! flannel's keys: the network's configuration and the leases.
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_json::Value as Json;

use super::registry::{ApiVersion, Key, Registry, Value};

/// Prefix that flannel uses unless told otherwise.
pub const PREFIX: &str = "/coreos.com/network";

/// Where a fact of flannel's stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub api: ApiVersion,
    /// `/coreos.com/network/config`.
    pub key: String,
    pub modified: u64,
}

impl Origin {
    pub fn source(&self) -> String {
        format!("etcd {}", self.api)
    }

    pub fn place(&self) -> String {
        format!("{} @ {}", self.key, self.modified)
    }
}

/// A `…/config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    pub origin: Origin,
    pub network: Option<Ipv4Net>,
    pub ipv6_network: Option<Ipv6Net>,
    /// 24 unless said otherwise.
    pub subnet_len: u8,
    pub subnet_min: Option<Ipv4Addr>,
    pub subnet_max: Option<Ipv4Addr>,
    pub ipv6_subnet_len: u8,
    pub ipv6_subnet_min: Option<Ipv6Addr>,
    pub ipv6_subnet_max: Option<Ipv6Addr>,
    /// `udp` unless said otherwise.
    pub backend: String,
    pub port: Option<u16>,
    pub vni: Option<u32>,
    pub direct_routing: bool,
}

/// A `…/subnets/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub origin: Origin,
    /// The subnet that it is spoken of by: of IPv4, or of IPv6 where it has no other.
    pub subnet: IpNet,
    pub ipv6_subnet: Option<Ipv6Net>,
    pub public_ip: Option<Ipv4Addr>,
    pub public_ipv6: Option<Ipv6Addr>,
    /// `udp` where none is named.
    pub backend: String,
    pub vni: Option<u32>,
    /// Absent where what stands there is none: flanneld reads nothing of it then.
    pub vtep_mac: Option<String>,
    pub vtep_mac_v6: Option<String>,
    /// What stands where a VTEP MAC should, and is none.
    pub no_mac: Option<String>,
    /// Seconds left; absent of one that is reserved.
    pub ttl: Option<i64>,
    /// Seconds that it was granted for, where known.
    pub granted_ttl: Option<i64>,
}

impl Lease {
    /// Its subnet of the family that `net` is of.
    pub fn subnet_of(&self, net: IpNet) -> Option<IpNet> {
        self.subnet_in(matches!(net, IpNet::V6(_)))
    }

    pub fn subnet_in(&self, ipv6: bool) -> Option<IpNet> {
        match ipv6 {
            false => self.ipv4_subnet().map(IpNet::V4),
            true => self.ipv6_subnet.map(IpNet::V6),
        }
    }

    pub fn ipv4_subnet(&self) -> Option<Ipv4Net> {
        match self.subnet {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }
    }

    /// Both of its subnets, or the one that it has.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> + use<> {
        let v4 = self.ipv4_subnet().map(IpNet::V4);
        v4.into_iter().chain(self.ipv6_subnet.map(IpNet::V6))
    }

    /// Its host's public addresses, as far as a host can have them.
    pub fn publics(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let both = [self.public_of(false), self.public_of(true)];
        both.into_iter().flatten()
    }

    /// The address that its host is spoken of by.
    pub fn public(&self) -> Option<IpAddr> {
        self.publics().next()
    }

    /// Where a backend sends what is for its subnet of one family.
    pub fn public_of(&self, ipv6: bool) -> Option<IpAddr> {
        let said = match ipv6 {
            false => self.public_ip.map(IpAddr::V4),
            true => self.public_ipv6.map(IpAddr::V6),
        };
        said.filter(|address| no_hosts(*address).is_none())
    }

    /// MAC of its host's VXLAN device of one family.
    pub fn vtep_mac_of(&self, ipv6: bool) -> Option<&str> {
        match ipv6 {
            false => self.vtep_mac.as_deref(),
            true => self.vtep_mac_v6.as_deref(),
        }
    }
}

/// What kind of address it is, where no host is reached by one.
pub fn no_hosts(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("no address at all"),
        _ if address.is_loopback() => Some("each host's own loopback"),
        _ if address.is_multicast() => Some("a multicast group"),
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        _ => None,
    }
}

/// A key below a network's prefix that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub origin: Origin,
    /// Whether it is the network's configuration, and not a lease.
    pub is_config: bool,
    pub why: String,
}

/// One network of flannel: a configuration with the leases beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlannelNetwork {
    /// `/coreos.com/network`, or `…/<name>` of one of several.
    pub prefix: String,
    pub api: ApiVersion,
    pub config: Option<NetworkConfig>,
    pub leases: Vec<Lease>,
    pub malformed: Vec<Malformed>,
}

/// Value of a `…/config`, in flannel's own names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6", default)]
    enable_ipv6: bool,
    network: Option<String>,
    #[serde(rename = "IPv6Network")]
    ipv6_network: Option<String>,
    #[serde(default)]
    subnet_len: u8,
    subnet_min: Option<String>,
    subnet_max: Option<String>,
    #[serde(rename = "IPv6SubnetLen", default)]
    ipv6_subnet_len: u8,
    #[serde(rename = "IPv6SubnetMin")]
    ipv6_subnet_min: Option<String>,
    #[serde(rename = "IPv6SubnetMax")]
    ipv6_subnet_max: Option<String>,
    backend: Option<RawBackend>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBackend {
    #[serde(default)]
    r#type: String,
    port: Option<u16>,
    #[serde(rename = "VNI")]
    vni: Option<u32>,
    #[serde(default)]
    direct_routing: bool,
}

/// Value of a lease.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawLease {
    #[serde(rename = "PublicIP", alias = "publicIP", alias = "publicip")]
    public_ip: Option<String>,
    #[serde(rename = "PublicIPv6")]
    public_ipv6: Option<String>,
    #[serde(default)]
    backend_type: String,
    /// Of whatever shape the backend gives it.
    backend_data: Option<Json>,
    #[serde(rename = "BackendV6Data")]
    backend_v6_data: Option<Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBackendData {
    #[serde(rename = "VNI")]
    vni: Option<u32>,
    #[serde(rename = "VtepMAC")]
    vtep_mac: Option<String>,
}

/// flannel's networks among the registry's keys, by API and prefix. Any key that ends in
/// `/config` with a `Network` in it, or `/subnets/A.B.C.D-N`, is taken for one of flannel's:
/// the prefix is a matter of taste.
pub fn networks(registry: &Registry) -> Vec<FlannelNetwork> {
    all(registry).filter(is_flannels).collect()
}

/// Keys of flannel's that nobody understands: below a prefix that has others of flannel's, or
/// that a flanneld was told.
pub fn malformed(registry: &Registry, told: &[String]) -> Vec<Malformed> {
    let slashed = |prefix: &str| format!("/{}", prefix.trim_matches('/'));
    let told: Vec<String> = told.iter().map(|prefix| slashed(prefix)).collect();
    let networks = all(registry)
        .filter(|network| is_flannels(network) || told.contains(&slashed(&network.prefix)));
    networks.flat_map(|network| network.malformed).collect()
}

fn all(registry: &Registry) -> impl Iterator<Item = FlannelNetwork> {
    let mut networks: BTreeMap<(ApiVersion, &str), FlannelNetwork> = BTreeMap::new();
    // An empty directory of v2 has no value to understand.
    for key in registry.keys.iter().filter(|key| !key.directory) {
        let Some((prefix, part)) = split(&key.key) else {
            continue;
        };
        let entry = networks
            .entry((key.api, prefix))
            .or_insert_with(|| FlannelNetwork {
                prefix: prefix.to_owned(),
                api: key.api,
                ..FlannelNetwork::default()
            });
        add(entry, key, &part);
    }
    networks.into_values()
}

/// A `config` alone may be anybody's: without a range or a lease it is not flannel's, unless
/// it stands where flannel's would.
fn is_flannels(network: &FlannelNetwork) -> bool {
    network.config.is_some() || !network.leases.is_empty() || network.prefix == PREFIX
}

enum Part<'a> {
    Config,
    Subnet(&'a str),
}

fn split(key: &str) -> Option<(&str, Part<'_>)> {
    if let Some(prefix) = key.strip_suffix("/config") {
        return Some((prefix, Part::Config));
    }
    let (prefix, subnet) = key.rsplit_once("/subnets/")?;
    Some((prefix, Part::Subnet(subnet)))
}

fn add(network: &mut FlannelNetwork, key: &Key, part: &Part<'_>) {
    let origin = Origin {
        api: key.api,
        key: key.key.clone(),
        modified: key.modified,
    };
    let result = match part {
        Part::Config => config(key, &origin).map(|config| network.config = Some(config)),
        Part::Subnet(name) => lease(key, name, &origin).map(|lease| network.leases.push(lease)),
    };
    if let Err(why) = result {
        let is_config = matches!(part, Part::Config);
        network.malformed.push(Malformed {
            origin,
            is_config,
            why,
        });
    }
}

fn value<'a, T: Deserialize<'a>>(key: &'a Key) -> Result<T, String> {
    let text = match &key.value {
        Value::Text(text) => text,
        Value::Bytes { .. } => return Err("its value is no text".to_owned()),
        Value::Cut { bytes, .. } => return Err(format!("its value has {bytes} bytes")),
    };
    serde_json::from_str(text).map_err(not_flannels)
}

fn not_flannels(error: serde_json::Error) -> String {
    format!("its value is not what flannel writes: {error}")
}

/// Fields of a configuration.
const FIELDS: [&str; 16] = [
    "EnableIPv4",
    "EnableIPv6",
    "Network",
    "SubnetLen",
    "SubnetMin",
    "SubnetMax",
    "IPv6Network",
    "IPv6SubnetLen",
    "IPv6SubnetMin",
    "IPv6SubnetMax",
    "Backend",
    "Type",
    "Port",
    "VNI",
    "MTU",
    "DirectRouting",
];

/// A configuration with its fields in flannel's own spelling: people write it, and Go takes a
/// field's name in letters of either case.
pub fn cased(value: Json) -> Json {
    let Json::Object(fields) = value else {
        return value;
    };
    let fields = fields.into_iter().map(|(name, value)| {
        let mut known = FIELDS.iter();
        let known = known.find(|known| known.eq_ignore_ascii_case(&name));
        let name = known.map_or(name.clone(), |known| (*known).to_owned());
        (name, cased(value))
    });
    Json::Object(fields.collect())
}

fn config(key: &Key, origin: &Origin) -> Result<NetworkConfig, String> {
    let raw: RawConfig = serde_json::from_value(cased(value(key)?)).map_err(not_flannels)?;
    let network: Option<Ipv4Net> = parsed("Network", raw.network.as_deref())?;
    let ipv6_network: Option<Ipv6Net> = parsed("IPv6Network", raw.ipv6_network.as_deref())?;
    if network.is_none() && ipv6_network.is_none() {
        return Err("it names no Network".to_owned());
    }
    let backend = raw.backend.unwrap_or_default();
    let or = |length: u8, default: u8| if length == 0 { default } else { length };
    // A wide enough network is cut in /24, a narrower one in four (flannel's subnet/config.go).
    let default_len = network.map_or(24, |net| match net.prefix_len() {
        0..=22 => 24,
        length => (length + 2).min(32),
    });
    let default_ipv6_len = ipv6_network.map_or(64, |net| match net.prefix_len() {
        0..=62 => 64,
        length => (length + 2).min(128),
    });
    Ok(NetworkConfig {
        origin: origin.clone(),
        network: network
            .filter(|_| raw.enable_ipv4 != Some(false))
            .map(|net| net.trunc()),
        ipv6_network: ipv6_network
            .filter(|_| raw.enable_ipv6)
            .map(|net| net.trunc()),
        subnet_len: or(raw.subnet_len, default_len),
        subnet_min: parsed("SubnetMin", raw.subnet_min.as_deref())?,
        subnet_max: parsed("SubnetMax", raw.subnet_max.as_deref())?,
        ipv6_subnet_len: or(raw.ipv6_subnet_len, default_ipv6_len),
        ipv6_subnet_min: parsed("IPv6SubnetMin", raw.ipv6_subnet_min.as_deref())?,
        ipv6_subnet_max: parsed("IPv6SubnetMax", raw.ipv6_subnet_max.as_deref())?,
        // flanneld takes it in letters of either case.
        backend: named(backend.r#type.to_ascii_lowercase()),
        port: backend.port,
        vni: backend.vni,
        direct_routing: backend.direct_routing,
    })
}

fn lease(key: &Key, name: &str, origin: &Origin) -> Result<Lease, String> {
    let (v4, v6) = match name.split_once('&') {
        Some((v4, v6)) => (v4, Some(v6)),
        None => (name, None),
    };
    let ipv6_subnet = v6.map(subnet6).transpose()?.map(|net| net.trunc());
    // Without IPv4 flannel writes its zero value there, of the address as of the subnet.
    let v4 = subnet::<Ipv4Net>(v4)?.trunc();
    let (subnet, of_ipv6) = match ipv6_subnet {
        Some(net) if v4.prefix_len() == 0 => (IpNet::V6(net), true),
        _ => (IpNet::V4(v4), false),
    };
    let raw: RawLease = value(key)?;
    let data = backend_data(raw.backend_data);
    let data_v6 = backend_data(raw.backend_v6_data);
    let no_mac = [&data.vtep_mac, &data_v6.vtep_mac]
        .into_iter()
        .flatten()
        .find(|text| !is_mac(text))
        .cloned();
    let public_ip = parsed("PublicIP", raw.public_ip.as_deref())?;
    Ok(Lease {
        origin: origin.clone(),
        subnet,
        ipv6_subnet,
        public_ip: public_ip.filter(|_| !of_ipv6),
        public_ipv6: parsed("PublicIPv6", raw.public_ipv6.as_deref())?,
        backend: named(raw.backend_type),
        vni: data.vni.or(data_v6.vni),
        vtep_mac: data.vtep_mac.filter(|text| is_mac(text)),
        vtep_mac_v6: data_v6.vtep_mac.filter(|text| is_mac(text)),
        no_mac,
        ttl: key.ttl,
        granted_ttl: key.granted_ttl,
    })
}

/// What is known of a backend's data; that of other backends is of other shapes.
fn backend_data(data: Option<Json>) -> RawBackendData {
    let known = data.and_then(|data| serde_json::from_value(data).ok());
    known.unwrap_or_default()
}

/// Six pairs of hexadecimal digits, as flannel writes them. It goes into commands.
fn is_mac(text: &str) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(pair)
}

fn named(backend: String) -> String {
    match backend.is_empty() {
        true => "udp".to_owned(),
        false => backend,
    }
}

fn parsed<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, String>
where
    T::Err: Display,
{
    match text {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("{name} `{text}`: {error}")),
        },
    }
}

/// `10.5.52.0-24`.
fn subnet<T: FromStr>(name: &str) -> Result<T, String>
where
    T::Err: Display,
{
    let net = name
        .rsplit_once('-')
        .map(|(address, length)| format!("{address}/{length}"));
    net.and_then(|net| net.parse().ok())
        .ok_or_else(|| format!("`{name}` is no subnet; 10.5.52.0-24 is one"))
}

/// `fc00::-64`, with `:` as `-` where the store wants no colons.
fn subnet6(name: &str) -> Result<Ipv6Net, String> {
    subnet(name)
}

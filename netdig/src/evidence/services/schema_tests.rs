use super::*;
use crate::context::registry::Value;

fn key(name: &str, value: &str) -> Key {
    Key {
        api: ApiVersion::V3,
        key: name.to_owned(),
        value: Value::Text(value.to_owned()),
        ..Key::default()
    }
}

/// `name: upstream upstream` of each service, of keys told as `key value` a line.
fn told(lines: &str, prefix: &str, forced: Option<Schema>) -> Vec<String> {
    let lines = lines.trim().lines().map(str::trim);
    let keys: Vec<Key> = lines
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(name, value)| key(name, value))
        .collect();
    let services = Services::of(&keys, prefix, forced);
    let shown = services.all.iter().map(|one| {
        let names: Vec<&str> = one.upstreams.iter().map(|one| one.name.as_str()).collect();
        format!("{:?} {}: {}", one.schema, one.name, names.join(" "))
    });
    shown.collect()
}

#[test]
fn every_layout_below_one_prefix() {
    let keys = r#"
        /haproxy-discover/services/myapp/domain myapp.org
        /haproxy-discover/services/myapp/upstreams/frontend1 10.1.1.187:80
        /haproxy-discover/services/myapp/upstreams/frontend2
        /haproxy-discover/tcp-services/db/upstreams/a 10.1.1.188:5432
        /lb/services/web/upstreams/w1 http://10.1.1.1:80
        /services/myapp/frontend:frontend1:80 10.1.1.187:80
        /services/dns/host:dns:53:udp 10.1.1.187:53
        /skydns/org/myapp/frontend1 {"host":"10.1.1.187","port":80}
        /skydns/config {"domain":"org."}
        /vulcand/backends/b1/backend {"Type":"http"}
        /vulcand/backends/b1/servers/s1 {"URL":"http://10.1.1.187:80"}
        traefik/HTTP/services/web/loadBalancer/servers/0/URL http://10.1.1.187:80
        /traefik/http/routers/web/rule Host(`myapp.org`)
        /coreos.com/network/config {"Network":"192.168.0.0/16"}
        /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
        /pools/web/node1 10.1.1.187:80
        /pools/web/node2 10.1.1.188:80
        /pools/web/node3 <no value>
    "#;
    assert_eq!(
        told(keys, "/", None),
        [
            "HaproxyConfd myapp: frontend1 frontend2",
            "HaproxyConfd db: a",
            "HaproxyConfd web: w1",
            "Shape web: node1 node2 node3",
            "Registrator dns: host:dns:53:udp",
            "Registrator myapp: frontend:frontend1:80",
            "SkyDns myapp: frontend1",
            "Vulcand b1: s1",
            "Traefik web: 0",
        ]
    );
    assert_eq!(
        told(keys, "/haproxy-discover/tcp-services", None),
        ["HaproxyConfd db: a"]
    );
    assert_eq!(
        told(keys, "/", Some(Schema::Vulcand)),
        ["Vulcand b1: s1"],
        "one layout alone"
    );
    assert!(told(keys, "/", Some(Schema::Flannel)).is_empty());
}

#[test]
fn settings_are_no_services() {
    let keys = r#"
        /config/app/listen :8080
        /config/app/db 10.0.0.5:5432
        /config/app/cache 10.0.0.6:6379
        /config/app/metrics 0.0.0.0:9100
        /config/app/api https://api.example.com/v1
        /config/app/start 12:30
        /config/app/version 1.2.3
        /config/app/mac 02:42:ac:11:00:02
        /config/app/cron 0 3 * * * root /bin/true
        /config/app/flag null
        /config/times/t1 12:30
        /config/times/t2 13:30
        /config/listeners/l1 0.0.0.0:80
        /config/listeners/l2 0.0.0.0:81
        /config/nodes/n1 10.0.0.1
        /config/nodes/n2 10.0.0.2
        /config/services/web/domain example.org
        /config/blob/a1 {"host":{"a":1}}
        /config/blob/a2 {"text":"x"}
        /registry/services/endpoints/default/web1 {"host":"","port":80}
        /calico/ipam/v2/host/h1 {"host":"10.0.0.1","port":179}
    "#;
    assert_eq!(told(keys, "/", None), Vec::<String>::new());
}

#[test]
fn a_forced_layout_takes_what_it_would_have_doubted() {
    let keys = "/r/web/one 10.0.0.1:80\n/r/web/two :80";
    assert_eq!(
        told(keys, "/r", Some(Schema::Registrator)),
        ["Registrator web: one two"]
    );
    let keys = "/r/web/one 10.0.0.1:80";
    assert_eq!(told(keys, "/r", Some(Schema::Shape)), ["Shape web: one"]);
    assert_eq!(told(keys, "/r", None), Vec::<String>::new());
}

#[test]
fn values_of_any_bytes() {
    let keys = [
        Key {
            value: Value::of(b"k8s\0\x0a\xff"),
            ..key("/a/services/x/upstreams/one", "")
        },
        Key {
            key: "/".to_owned(),
            ..Key::default()
        },
        Key::default(),
    ];
    let services = Services::of(&keys, "/", None);
    assert!(matches!(
        services.all[0].upstreams[0].target,
        Target::Refused(_)
    ));
}

#[test]
fn names_alike() {
    assert!(alike("frontend1", "frontend22"));
    assert!(alike("3f2504e0-4f89", "9a0c7b1d2e44"));
    assert!(!alike("db", "cache"));
}

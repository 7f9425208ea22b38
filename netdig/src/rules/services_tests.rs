//! Registries that are well: nothing is said of them at medium or above, whatever the layout.
use super::testing::watched;
use crate::evidence::services::Answer;
use crate::finding::Severity;

const HOST: &str = r#"
    link eth0
    link flannel0 tun
    address 10.1.1.95/24 dev eth0
    address 192.168.69.0/16 dev flannel0
    route 10.1.1.0/24 dev eth0
    route 192.168.0.0/16 dev flannel0
    bind 10.1.1.95:80
    key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
    key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
    key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
"#;

const WELL: &[(&str, &str)] = &[
    (
        "haproxy-confd",
        "key v2 /haproxy-discover/services/myapp/domain myapp.org
         key v2 /haproxy-discover/services/myapp/url_reg ^/x
         key v2 /haproxy-discover/services/myapp/upstreams/frontend1 192.168.13.2:80
         key v2 /haproxy-discover/services/myapp/upstreams/frontend2 192.168.13.3:80
         key v2 /haproxy-discover/tcp-services/db/upstreams/a 192.168.69.2:5432
         key v3 /haproxy-discover/services/myapp/upstreams/frontend1 192.168.13.2:80",
    ),
    (
        "upstreams as URLs elsewhere",
        "key v3 /lb/services/web/upstreams/w1 http://10.1.1.187:80
         key v3 /lb/services/web/upstreams/w2 http://10.1.1.188:80",
    ),
    (
        "registrator",
        "key v2 /services/web-80/h1:web_1:80 10.1.1.187:32768
         key v2 /services/web-443/h1:web_1:443 10.1.1.187:32769
         key v2 /services/dns/h1:dns:53 10.1.1.187:53
         key v2 /services/dns/h1:dns:53:udp 10.1.1.187:53
         key v2 /services/web-80/h2:web_1:80 10.1.1.95:32768",
    ),
    (
        "SkyDNS",
        r#"key v2 /skydns/config {"dns_addr":"0.0.0.0:53","domain":"skydns.local."}
         key v2 /skydns/local/skydns/east/rails/1 {"host":"10.1.1.187","port":80,"group":"g1"}
         key v2 /skydns/local/skydns/east/rails/2 {"host":"10.1.1.187","port":80,"group":"g2"}
         key v2 /skydns/local/skydns/www {"host":"10.1.1.187"}
         key v2 /skydns/local/skydns/mail {"host":"10.1.1.187"}
         key v2 /skydns/local/skydns/txt {"text":"v=spf1 -all"}
         key v2 /skydns/local/skydns/blocked {"host":"0.0.0.0"}
         key v2 /skydns/local/localhost {"host":"127.0.0.1"}
         key v2 /skydns/arpa/in-addr/10/1/1/187 {"host":"web.skydns.local"}"#,
    ),
    (
        "vulcand",
        r#"key v2 /vulcand/backends/b1/backend {"Type":"http"}
         key v2 /vulcand/backends/b1/servers/s1 {"URL":"http://10.1.1.187:5000"}
         key v2 /vulcand/frontends/f1/frontend {"Type":"http","BackendId":"b1","Route":"Path(`/`)"}
         key v2 /vulcand/hosts/localhost/host {"Settings":{}}
         key v2 /vulcand/listeners/l1 {"Protocol":"http","Address":{"Network":"tcp","Address":"0.0.0.0:8080"}}"#,
    ),
    (
        "traefik",
        "key v3 traefik/http/routers/web/rule Host(`myapp.org`)
         key v3 traefik/http/routers/web/service web
         key v3 traefik/http/services/web/loadbalancer/servers/0/url http://10.1.1.187:80
         key v3 traefik/HTTP/Services/web/LoadBalancer/servers/1/URL http://10.1.1.188:80/
         key v3 traefik/tcp/services/db/loadbalancer/servers/0/address 10.1.1.187:5432
         key v3 traefik/http/services/web/loadbalancer/healthcheck/path /ping",
    ),
    (
        "Kubernetes, Calico and Docker",
        r#"key v3 /registry/services/endpoints/default/web k8s
         key v3 /registry/services/specs/default/a1 {"host":"","port":80}
         key v3 /registry/masterleases/10.1.1.95 {"host":"","port":0}
         key v3 /calico/ipam/v2/host/h1/ipv4/block/10.5.0.0-26 {"state":"confirmed"}
         key v3 /calico/resources/v3/projectcalico.org/ippools/p {"spec":{"cidr":"10.5.0.0/16"}}
         key v2 /docker/network/v1.0/endpoint/n1/e1 {"ep_iface":{"addr":"10.0.0.2/24"}}
         key v2 /docker/network/v1.0/network/n1 {"addrSpace":"GlobalDefault"}
         key v2 /docker/nodes/10.1.1.187:2375 10.1.1.187:2375"#,
    ),
    (
        "a program's settings",
        r#"key v3 /config/app/listen :8080
         key v3 /config/app/bind 0.0.0.0:9100
         key v3 /config/app/db1 10.0.0.5:5432
         key v3 /config/app/db2 10.0.0.5:5432
         key v3 /config/app/api https://api.example.com/v1
         key v3 /config/app/hook1 https://hooks.example.com
         key v3 /config/app/hook2 https://hooks.example.com
         key v3 /config/app/start 12:30
         key v3 /config/app/version 1.2.3
         key v3 /config/app/mac 02:42:ac:11:00:02
         key v3 /config/app/cron 0 3 * * * root /bin/true
         key v3 /config/app/feature true
         key v3 /config/app/nothing null
         key v3 /config/app/empty
         key v3 /config/app/blob {"host":"","port":8080,"tls":{}}
         key v3 /config/servers/strategy roundrobin
         key v3 /config/servers/a 10.1.1.187:80
         key v3 /config/servers/b 10.1.1.188:80
         key v3 /config/services/web/domain example.org
         key v3 /config/nodes/n1 10.0.0.1
         key v3 /config/nodes/n2 10.0.0.2
         key v3 /config/times/t1 12:30
         key v3 /config/times/t2 :30
         key v3 /locks/master 694d7b2c"#,
    ),
];

#[test]
fn registries_that_are_well() {
    for (name, keys) in WELL {
        let probes = [
            ("192.168.13.2:80", Answer::Accepts),
            ("10.1.1.187:80", Answer::Accepts),
        ];
        for probes in [&probes[..], &[]] {
            let mut found = watched(&format!("{HOST}{keys}"), probes);
            found.retain(|one| (501..600).contains(&one.code.0));
            found.retain(|one| one.severity >= Severity::Medium);
            let titles: Vec<_> = found.iter().map(|one| (one.code, &one.title)).collect();
            assert!(titles.is_empty(), "{name}: {titles:?}");
        }
    }
}

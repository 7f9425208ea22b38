//! What is bounded, and what confidence becomes; the rules' tests feed the rest.
use super::*;
use crate::observation::LossCause;

fn loss(window: (u64, u64)) -> Loss {
    Loss {
        ts_ns: window.1,
        interface: None,
        source: "probe".to_owned(),
        event_kind: "tun",
        cause: LossCause::RingFull,
        count: 1,
        window,
    }
}

#[test]
fn confidence_falls_only_where_events_were_lost() {
    let mut traffic = Traffic::default();
    traffic.add_loss(&loss((100, 200)));
    let trust = |since, until| traffic.trust(Confidence::Likely, since, until);
    assert_eq!(trust(0, 99), Confidence::Likely);
    assert_eq!(trust(201, 300), Confidence::Likely);
    assert_eq!(trust(0, 100), Confidence::Inconclusive);
    assert_eq!(trust(150, 160), Confidence::Inconclusive);
}

#[test]
fn a_packet_of_a_tun_waits_until_it_is_sent_or_given_up() {
    let request = [
        0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 1, 0, 0, 192, 168, 69, 0, 192, 168, 99, 9, // IPv4
        8, 0, 0, 0, 0, 7, 0, 1,
    ];
    let interface = Interface {
        name: "flannel0".to_owned(),
        link: LinkType::RawIp,
        snaplen: 0,
        addresses: Vec::new(),
    };
    let ports = decoders::Ports::default();
    let packet = decoders::decode(LinkType::RawIp, &request, request.len(), &ports);
    let mut traffic = Traffic::default();
    let mut see = |n, via, fate: &Fate| {
        traffic.observe(&Sight {
            n,
            frame: &Frame::new(n, via, LinkType::RawIp, &request),
            number: 0,
            interface: &interface,
            packet: &packet,
            tcp: None,
            fate,
            packet_type: None,
        });
    };
    for n in 1..=3 {
        see(n, Via::TunRead, &Fate::Open);
    }
    let joined = Fate::Joined {
        n: 1,
        second: true,
        other: super::super::packet::Other::default(),
    };
    see(4, Via::UdpSend, &joined);
    traffic.leave_out(2);
    assert_eq!(traffic.unanswered(1, 0), None);
    assert_eq!(traffic.unanswered(2, 0), None);
    assert_eq!(traffic.unanswered(3, 0), Some(Event::NotSent));
    let (_, lost) = traffic.not_sent.iter().next().unwrap();
    assert_eq!((lost.count, lost.first.at.n, lost.doubtful), (1, 3, false));
    assert!(traffic.open.is_empty());
}

/// IPv4 in IPv4 from 10.0.0.1 to another host.
fn ipip(far: u16) -> Vec<u8> {
    let [high, low] = far.to_be_bytes();
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 4, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 9, high, low]);
    packet.extend([0x45, 0, 0, 20, 0, 1, 0x40, 0, 64, 253, 0, 0]);
    packet.extend([192, 168, 69, 2, 192, 168, 70, 2]);
    packet
}

#[test]
fn a_tunnel_whose_place_went_to_another_is_counted_anew() {
    let interface = Interface {
        name: "eth0".to_owned(),
        link: LinkType::RawIp,
        snaplen: 0,
        addresses: Vec::new(),
    };
    let ports = decoders::Ports::default();
    let mut traffic = Traffic::default();
    let mut see = |n, far| {
        let bytes = ipip(far);
        let packet = decoders::decode(LinkType::RawIp, &bytes, bytes.len(), &ports);
        traffic.observe(&Sight {
            n,
            frame: &Frame::new(n, Via::File, LinkType::RawIp, &bytes),
            number: 0,
            interface: &interface,
            packet: &packet,
            tcp: None,
            fate: &Fate::Alone,
            packet_type: None,
        })
    };
    let all = MAX_ENTRIES as u16;
    for far in 0..all {
        assert_eq!(see(1 + u64::from(far), far), Some(Event::Tunnel));
    }
    assert_eq!(see(5000, 0), None, "it is known");
    assert_eq!(
        see(5001, all),
        Some(Event::Tunnel),
        "in the place of the first"
    );
    assert_eq!(
        see(5002, 0),
        Some(Event::Tunnel),
        "in the place of the second"
    );
    assert_eq!(see(5003, 1), Some(Event::Tunnel));
    let sums: Vec<(u64, u64)> = traffic
        .tunnels()
        .map(|(_, one)| (one.sent.packets, one.sent.first.n))
        .collect();
    assert_eq!(sums.len(), MAX_ENTRIES);
    assert_eq!(sums[MAX_ENTRIES - 3..], [(1, 5001), (1, 5002), (1, 5003)]);
}

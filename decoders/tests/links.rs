//! Links and carriers by the bytes of one frame each.

mod build;

use build::{ethernet, ipv4, names, raw, udp_between};
use decoders::{Layer, LinkType, Packet, Ports, Reason, decode};

fn off(link: u16, data: &[u8]) -> Packet<'_> {
    let link = LinkType::from_number(link);
    decode(link, data, data.len(), &Ports::default())
}

fn datagram() -> Vec<u8> {
    ipv4(17, &udp_between(1, 2, b"abc"))
}

#[test]
fn ppp_in_each_framing() {
    let inner = datagram();
    for (link, header) in [
        (9, &[0xff, 3, 0, 0x21][..]),
        (9, &[0xff, 3, 0x21]),
        (9, &[0, 0x21]),
        (50, &[0x21]),
        (51, &[0x11, 0, 0, 1, 0, 33, 0, 0x21]),
        (166, &[1, 3, 0, 0x21]),
        (204, &[1, 0xff, 3, 0, 0x21]),
    ] {
        let data = [header, &inner].concat();
        let packet = off(link, &data);
        let ppp = packet.layers.iter().find_map(|layer| match layer {
            Layer::Ppp(ppp) => Some(*ppp),
            _ => None,
        });
        assert_eq!(ppp.unwrap().protocol(), 0x21, "{link}");
        assert!(names(&packet).ends_with(&["ppp", "ipv4", "udp"]), "{link}");
        assert_eq!(packet.stop, None, "{link}");
    }
    let stop = off(9, &[0xff, 3, 0xc0, 0x25, 1]).stop.unwrap();
    assert_eq!(stop.reason, Reason::PppProtocol(0xc025));
}

#[test]
fn frame_relay_addresses() {
    let inner = datagram();
    for (address, dlci) in [
        (&[0x18, 0x41][..], 100),
        (&[0x18, 0x40, 0x81], 100 << 6 | 32),
        (&[0x18, 0x40, 0x02, 0x81], (100 << 7 | 1) << 6 | 32),
    ] {
        let data = [address, &[3, 0xcc], &inner].concat();
        let packet = off(107, &data);
        let Layer::FrameRelay(frame) = &packet.layers[0] else {
            panic!("Frame Relay")
        };
        assert_eq!(frame.dlci(), dlci);
        assert_eq!(names(&packet), ["fr", "ipv4", "udp"]);
    }
    let stop = off(107, &[2; 9]).stop.unwrap();
    assert!(matches!(stop.reason, Reason::Malformed(_)));
}

#[test]
fn a_register_carries_its_packet() {
    let inner = datagram();
    let data = ipv4(103, &[&[0x21, 0, 0, 0, 0, 0, 0, 0], &inner[..]].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "pim", "ipv4", "udp"]);
    assert!(packet.outer().is_some());
    // A null register's header is all zeros; a hello carries nothing.
    for message in [
        &[0x21u8, 0, 0, 0, 0x40, 0, 0, 0, 0, 0][..],
        &[0x20, 0, 0, 0],
    ] {
        let data = ipv4(103, message);
        assert_eq!(names(&raw(&data)), ["ipv4", "pim"]);
        assert_eq!(raw(&data).stop, None);
    }
}

#[test]
fn macsec_without_encryption_ends_before_its_check() {
    let tag = [0, 0, 0, 0, 0, 1, 8, 0];
    let data = ethernet(0x88e5, &[&tag, &datagram()[..], &[7; 16]].concat());
    let packet = off(1, &data);
    assert_eq!(names(&packet), ["eth", "macsec", "ipv4", "udp"]);
    let data = ethernet(0x88e5, &[&[0x08; 6][..], &[7; 40]].concat());
    let stop = off(1, &data).stop.unwrap();
    assert_eq!(stop.reason, Reason::Form("what MACsec encrypts"));
}

#[test]
fn nsh_contexts_are_passed() {
    for (header, len) in [
        (&[0u8, 2, 2, 1, 0, 0, 9, 255][..], 8),
        (
            &[
                0, 6, 1, 1, 0, 0, 9, 255, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4,
            ],
            24,
        ),
    ] {
        let data = ethernet(0x894f, &[header, &datagram()].concat());
        let packet = off(1, &data);
        assert_eq!(names(&packet), ["eth", "nsh", "ipv4", "udp"]);
        let Layer::Nsh(nsh) = &packet.layers[1] else {
            panic!("NSH")
        };
        assert_eq!((nsh.path(), nsh.index(), nsh.header_len()), (9, 255, len));
    }
}

#[test]
fn frames_of_80211() {
    let llc = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let frame = |control: u8, flags: u8, more: &[u8]| {
        let header = [&[control, flags], &[2; 20][..], &[0, 0], more].concat();
        [&header, &llc[..], &datagram()].concat()
    };
    let expected = ["wlan", "llc", "ipv4", "udp"];
    assert_eq!(names(&off(105, &frame(0x08, 1, &[]))), expected);
    assert_eq!(names(&off(105, &frame(0x88, 2, &[0, 0]))), expected);
    assert_eq!(names(&off(105, &frame(0x08, 3, &[2; 6]))), expected);
    let data = frame(0x08, 0x41, &[]);
    let stop = off(105, &data).stop.unwrap();
    assert_eq!(stop.reason, Reason::Form("what 802.11 encrypts"));
    for version in 1..4 {
        let data = frame(0x08 | version, 1, &[]);
        let packet = off(105, &data);
        assert_eq!(packet.layers.len(), 0);
        let reason = Reason::Version { found: version };
        assert_eq!(packet.stop.unwrap().reason, reason);
    }
    // Time and flags, which say that a checksum follows the frame.
    let radiotap = [&[0, 0, 17, 0, 3, 0, 0, 0][..], &[0; 8], &[0x10]].concat();
    let data = [&radiotap, &frame(0x08, 1, &[])[..], &[9; 4]].concat();
    let packet = off(127, &data);
    assert_eq!(names(&packet)[1..], expected);
    assert_eq!(packet.layers[1].span().end as usize, data.len() - 4);
}

#[test]
fn headers_that_are_too_long_to_count() {
    let reason = |link, length: u32, there: usize| {
        let mut data = [&[0x80, 0x21, 0x10, 1][..], &length.to_be_bytes()].concat();
        data.resize(there, 0);
        off(link, &data).stop.map(|stop| stop.reason)
    };
    for link in [119, 163] {
        let found = reason(link, 65536, 70000);
        assert!(matches!(found, Some(Reason::Malformed(_))), "{found:?}");
        let found = reason(link, 65536, 65535);
        let (needed, available) = (65536, 65535);
        assert_eq!(found, Some(Reason::TooShort { needed, available }));
        // One that can be counted is passed.
        let found = reason(link, 65535, 65536 + 9);
        assert!(!matches!(found, Some(Reason::Malformed(_))), "{found:?}");
    }
}

#[test]
fn other_links() {
    let inner = datagram();
    let infiniband = [&[0; 40][..], &[8, 0, 0, 0]].concat();
    let solaris = [&[1, 2][..], &[0; 22]].concat();
    let nflog = [2, 0, 0, 0, 8, 0, 1, 0, 8, 0, 1, 0, 35, 0, 9, 0];
    let avs = [
        &[0x80, 0x21, 0x10, 1, 0, 0, 0, 64][..],
        &[0; 56],
        &[8, 1],
        &[2; 20],
        &[0, 0],
    ];
    let avs = [&avs.concat()[..], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
    for (link, header, expected) in [
        (242, &infiniband[..], &["ipoib"][..]),
        (226, &solaris, &["ipnet"]),
        (239, &nflog, &["nflog"]),
        (104, &[0x0f, 0, 8, 0], &["chdlc"]),
        (
            178,
            &[b"MGC\0", &ethernet(0x0800, &[])[..]].concat(),
            &["juniper", "eth"],
        ),
        (163, &avs, &["wlancap", "wlan", "llc"]),
        (119, &avs, &["wlancap", "wlan", "llc"]),
        (11, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &["llc"]),
    ] {
        let data = [header, &inner].concat();
        let packet = off(link, &data);
        let expected = [expected, &["ipv4", "udp"]].concat();
        assert_eq!(names(&packet), expected, "{link}");
    }
}

/// Every link over the same bytes, cut at any length: no panic, no layer beyond.
#[test]
fn each_link_cut_anywhere() {
    let numbers: Vec<u16> = (0..300).collect();
    let mut state = 1u32;
    for _ in 0..40 {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut data: Vec<u8> = (0..96).map(|_| next() & next()).collect();
        data.splice(next() as usize % 64..96, datagram());
        for &number in &numbers {
            for len in 0..data.len() {
                let packet = off(number, &data[..len]);
                for layer in &packet.layers {
                    let span = layer.span();
                    assert!(span.start <= span.end && span.end as usize <= len);
                    assert!(span.start as usize + layer.header_len() <= len);
                }
            }
        }
    }
}

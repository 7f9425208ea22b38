//! Strict decoding, and what holds of every frame however it is cut.

use super::build::{ethernet, ipv4, ipv6, udp};
use super::{LINKS, packets, ports, sleeve, tcp, use_up};
use decoders::{
    Error, LengthSource, LinkType, Packet, Ports, Reason, Shortage, Stop, decode, decode_strict,
    decode_strict_into,
};

fn strict(link: LinkType, data: &[u8], orig_len: usize) -> Result<Packet<'_>, Error> {
    decode_strict(link, data, orig_len, &ports())
}

fn shape(packet: &Packet<'_>) -> Vec<(&'static str, decoders::Span)> {
    let layers = packet.layers.iter();
    layers.map(|layer| (layer.name(), layer.span())).collect()
}

/// How far into the frame decoding wants to see.
fn wanted(error: &Error) -> usize {
    error.offset + error.needed().expect("a number of bytes")
}

#[test]
fn whole_frames_are_no_error() {
    for (link, data, names) in packets() {
        let packet = strict(link, &data, data.len()).unwrap_or_else(|e| panic!("{names:?}: {e}"));
        assert_eq!(packet.layer_names().collect::<Vec<_>>(), names);
    }
}

#[test]
fn what_a_cut_frame_needs_takes_decoding_further() {
    for (link, data, names) in packets() {
        for len in 0..data.len() {
            // Nothing is behind the cut that could be read.
            let cut: Box<[u8]> = data[..len].into();
            let error = strict(link, &cut, data.len()).expect_err("cut");
            let Shortage {
                needed,
                had,
                length_from,
            } = error.shortage.expect("numbers");
            assert_eq!(length_from, LengthSource::Capture, "{names:?} at {len}");
            assert_eq!(error.offset + had, len, "{names:?}: {error}");
            assert!(needed > had, "{names:?} at {len}: {error}");
            assert!(wanted(&error) <= data.len(), "{names:?} at {len}: {error}");
            if let Err(next) = strict(link, &data[..wanted(&error)], data.len()) {
                assert!(
                    wanted(&next) > wanted(&error),
                    "{names:?}: {error}, then {next}"
                );
            }
        }
    }
}

/// The frame itself is short, not its capture: lengths in it say so.
#[test]
fn what_a_short_frame_needs_takes_decoding_further() {
    for (link, data, names) in packets() {
        for len in 0..data.len() {
            let Err(error) = strict(link, &data[..len], len) else {
                // Nothing in these says how long they are.
                let last = *names.last().unwrap();
                assert!(["lldp", "stp"].contains(&last), "{names:?} at {len}");
                continue;
            };
            let shortage = error.shortage.expect("numbers");
            assert_eq!(
                shortage.length_from,
                LengthSource::Frame,
                "{names:?}: {error}"
            );
            assert_eq!(error.offset + shortage.had, len, "{names:?}: {error}");
            assert!(shortage.needed > shortage.had, "{names:?}: {error}");
            let more = wanted(&error);
            assert!(more <= data.len(), "{names:?} at {len}: {error}");
            if let Err(next) = strict(link, &data[..more], more) {
                assert!(wanted(&next) > more, "{names:?}: {error}, then {next}");
            }
        }
    }
}

fn is_about_length(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Cut { .. }
            | Reason::Segmented { .. }
            | Reason::TooShort { .. }
            | Reason::LengthBeyond { .. }
            | Reason::LengthTooSmall { .. }
    )
}

fn has_numbers(stop: &Stop, captured: usize, orig_len: usize) {
    let Some(shortage) = stop.shortage else {
        assert!(!is_about_length(stop.reason), "{stop}");
        return;
    };
    assert!(is_about_length(stop.reason), "{stop}");
    assert!(shortage.needed > shortage.had, "{stop}: {shortage}");
    let end = stop.offset + shortage.had;
    match shortage.length_from {
        LengthSource::Capture => assert_eq!(end, captured, "{stop}: {shortage}"),
        LengthSource::Frame => assert_eq!(end, orig_len, "{stop}: {shortage}"),
        _ => assert!(end <= orig_len, "{stop}: {shortage}"),
    }
}

/// Of any bytes as any link's: strict finds the layers that lax finds, and both
/// have right numbers.
#[test]
fn any_bytes_have_right_numbers() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let ports = ports();
    let (mut errors, mut fine) = (0, 0);
    for (link, data, _) in packets() {
        for _ in 0..1500 {
            let mut data = data.clone();
            for _ in 0..random(4) {
                let at = random(data.len());
                data[at] = [random(256) as u8, 0, 0xff, 0x45, data[at] ^ 1, 4][random(6)];
            }
            let link = [link, link, LINKS[random(LINKS.len())]][random(3)];
            let orig_len = data.len() + [0, 0, random(80)][random(3)];
            data.truncate(random(data.len() + 1));
            let lax = decode(link, &data, orig_len, &ports);
            use_up(&lax);
            if let Some(stop) = &lax.stop {
                has_numbers(stop, data.len(), lax.orig_len);
            }
            let mut packet = Packet::new();
            let result = decode_strict_into(&mut packet, link, &data, orig_len, &ports);
            assert_eq!((shape(&packet), packet.stop), (shape(&lax), lax.stop));
            match result {
                Err(error) => {
                    errors += 1;
                    let Error {
                        layer,
                        offset,
                        reason,
                        shortage,
                    } = error;
                    let stop = Stop {
                        layer,
                        offset,
                        reason,
                        shortage,
                    };
                    has_numbers(&stop, data.len(), lax.orig_len);
                    assert!(!error.to_string().is_empty());
                }
                Ok(()) => {
                    fine += 1;
                    let reason = lax.stop.map(|stop| stop.reason);
                    let harmless = match reason {
                        Some(Reason::Segmented { .. }) | None => true,
                        Some(Reason::Version { .. } | Reason::Malformed(_)) => false,
                        Some(reason) => !is_about_length(reason),
                    };
                    assert!(harmless, "{reason:?}");
                }
            }
        }
    }
    assert!(errors > 1000 && fine > 1000, "{errors} errors, {fine} not");
}

/// Of what a frame lacks: layer, offset, bytes needed and had, and by what.
fn lack(link: LinkType, data: &[u8]) -> (&'static str, usize, usize, usize, LengthSource) {
    let error = strict(link, data, data.len()).expect_err("an error");
    let shortage = error.shortage.expect("numbers");
    (
        error.layer,
        error.offset,
        shortage.needed,
        shortage.had,
        shortage.length_from,
    )
}

/// In these the last header needs more than a length field leaves it; behind its
/// end are bytes enough.
#[test]
fn the_length_that_is_to_blame_is_named_in_tunnels_too() {
    const BEHIND: [u8; 30] = [0; 30];
    let ethernet_link = LinkType::Ethernet;
    let raw = LinkType::RawIp;
    let short_v4 = [&ipv4(17, &[0; 4])[..], &BEHIND].concat();
    let short_v6 = [&ipv6(6, &[0; 19])[..], &BEHIND].concat();
    let vxlan = |frame: &[u8]| {
        let inside = [&[8, 0, 0, 0, 0, 0, 1, 0], frame].concat();
        ethernet(0x0800, &ipv4(17, &udp(4789, &inside)))
    };
    use LengthSource::{
        Capture, Frame, Ieee8023Length, Ipv4HeaderLength, Ipv4TotalLength, Ipv6JumboLength,
        Ipv6PayloadLength, TcpDataOffset, UdpLength, WeaveSleeveFrame,
    };
    assert_eq!(lack(raw, &short_v4), ("udp", 20, 8, 4, Ipv4TotalLength));
    assert_eq!(
        lack(ethernet_link, &ethernet(0x0800, &short_v4)),
        ("udp", 34, 8, 4, Ipv4TotalLength)
    );
    assert_eq!(
        lack(ethernet_link, &vxlan(&ethernet(0x0800, &short_v4))),
        ("udp", 14 + 28 + 8 + 34, 8, 4, Ipv4TotalLength)
    );
    assert_eq!(
        lack(ethernet_link, &vxlan(&ethernet(0x86dd, &short_v6))),
        ("tcp", 14 + 28 + 8 + 54, 20, 19, Ipv6PayloadLength)
    );
    // What is in the tunnel ends with the datagram, the frame around it does not.
    let datagram = ipv4(
        17,
        &[&udp(4789, &[8, 0, 0, 0, 0, 0, 1, 0, 2, 2])[..], &BEHIND].concat(),
    );
    assert_eq!(lack(raw, &datagram), ("eth", 36, 14, 2, UdpLength));
    let length = ethernet(2, &[&[0x42, 0x42], &BEHIND[..]].concat());
    assert_eq!(
        lack(ethernet_link, &length),
        ("llc", 14, 3, 2, Ieee8023Length)
    );
    let jumbo = [0x60, 0, 0, 0, 0, 0, 0, 64];
    let options = [6, 0, 0xc2, 4, 0, 0, 0, 12, 1, 2, 3, 4];
    let jumbo = [&jumbo[..], &[0xfd; 32], &options, &BEHIND].concat();
    assert_eq!(lack(raw, &jumbo), ("tcp", 48, 20, 4, Ipv6JumboLength));
    let two_frames = [
        &sleeve(&ethernet(0x8100, &[0, 5]))[..],
        &[2; 12],
        &[0, 14],
        &[2; 14],
    ]
    .concat();
    assert_eq!(
        lack(raw, &ipv4(17, &udp(6783, &two_frames))),
        ("vlan", 28 + 20 + 14, 4, 2, WeaveSleeveFrame)
    );
    // A length that promises more than the one around it holds.
    let inner = ipv4(17, &[0x30, 0x39, 0, 7, 0, 99, 0, 0]);
    assert_eq!(
        lack(raw, &ipv4(4, &inner)),
        ("udp", 40, 99, 8, Ipv4TotalLength)
    );
    let mut longer = ipv6(41, &ipv6(59, &[]));
    longer[45] = 200;
    assert_eq!(lack(raw, &longer), ("ipv6", 40, 240, 40, Ipv6PayloadLength));
    // Fields that say less than their own header needs.
    let mut header = ipv4(4, &ipv4(6, &tcp(80, b"")));
    header[20] = 0x44;
    assert_eq!(lack(raw, &header), ("ipv4", 20, 20, 16, Ipv4HeaderLength));
    header[20] = 0x45;
    header[23] = 19;
    assert_eq!(lack(raw, &header), ("ipv4", 20, 20, 19, Ipv4TotalLength));
    header[23] = 52;
    header[40 + 12] = 0x40;
    assert_eq!(lack(raw, &header), ("tcp", 40, 20, 16, TcpDataOffset));
    let small = ipv4(17, &[0x30, 0x39, 0, 7, 0, 7, 0, 0]);
    assert_eq!(lack(raw, &small), ("udp", 20, 8, 7, UdpLength));
    // The frame's own end, and the capture's.
    let whole = ipv4(6, &tcp(80, b"GET"));
    assert_eq!(
        lack(ethernet_link, &ethernet(0x0800, &whole)[..30]),
        ("ipv4", 14, 20, 16, Frame)
    );
    let error = strict(raw, &whole[..25], whole.len()).unwrap_err();
    let shortage = error.shortage.unwrap();
    assert_eq!(
        (error.layer, error.offset, shortage),
        (
            "tcp",
            20,
            Shortage {
                needed: 20,
                had: 5,
                length_from: Capture
            }
        )
    );
}

/// These are whole, and decoding ends in them for want of knowledge.
#[test]
fn what_is_not_known_is_no_error() {
    let mut later = ipv4(17, &[7; 60]);
    later[7] = 9;
    let answer = super::over_tcp(&super::dns_answer());
    let frames = [
        (LinkType::Ethernet, ethernet(0x1234, b"abc")),
        (LinkType::RawIp, ipv4(253, b"abc")),
        (LinkType::Other(147), b"abc".to_vec()),
        (LinkType::Null, vec![99, 0, 0, 0]),
        (LinkType::RawIp, later),
        (
            LinkType::RawIp,
            ipv4(6, &tcp(53, &answer[..answer.len() - 3])),
        ),
        (LinkType::RawIp, ipv4(47, &[0, 0, 0x12, 0x34, 1, 2, 3, 4])),
    ];
    for (link, data) in frames {
        let packet = strict(link, &data, data.len()).unwrap();
        assert!(packet.stop.is_some(), "{data:?}");
        // Unless they are cut as well: unknown is what follows the last layer.
        if let (Some(layer), true) = (packet.layers.last(), data.len() > 24) {
            let error = strict(link, &data[..data.len() - 1], data.len()).unwrap_err();
            assert_eq!(error.layer, layer.name());
            assert_eq!(error.reason, Reason::Cut { missing: 1 });
        }
    }
}

#[test]
fn what_contradicts_without_a_length_has_no_numbers() {
    let mut version = ethernet(0x0800, &ipv4(6, &tcp(80, b"")));
    version[14] = 0x65;
    let error = strict(LinkType::Ethernet, &version, version.len()).unwrap_err();
    assert_eq!(
        (error.layer, error.offset, error.shortage),
        ("ipv4", 14, None)
    );
    assert_eq!(error.to_string(), "ipv4 at byte 14: version is 6");
    let error: &dyn core::error::Error = &error;
    assert!(error.source().is_none());
    let tags = ethernet(0x8100, &[0x81, 0x00].repeat(500));
    let error = strict(LinkType::Ethernet, &tags, tags.len()).unwrap_err();
    assert_eq!(error.reason, Reason::TooManyLayers);
}

/// Lax tells one thing, where decoding ended; strict tells the first fault.
#[test]
fn a_length_that_promises_too_much_comes_before_what_it_led_to() {
    let mut data = ipv4(17, &udp(7, b"abc"));
    data[3] += 9;
    data[9] = 253;
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(packet.stop.unwrap().reason, Reason::IpProtocol(253));
    let error = strict(LinkType::RawIp, &data, data.len()).unwrap_err();
    assert_eq!((error.layer, error.offset), ("ipv4", 0));
    assert_eq!((error.needed(), error.had()), (Some(40), Some(31)));
}

#[test]
fn cut_padding_is_no_error() {
    let data = [&ethernet(0x0800, &ipv4(17, &udp(7, b"x")))[..], &[0; 17]].concat();
    let cut = &data[..data.len() - 17];
    assert!(strict(LinkType::Ethernet, cut, data.len()).is_ok());
    assert!(strict(LinkType::Ethernet, &cut[..42], data.len()).is_err());
}

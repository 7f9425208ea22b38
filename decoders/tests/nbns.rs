//! NetBIOS's name service.

use decoders::nbns::Nbns;
use decoders::{Layer, LinkType, Packet, Ports, decode};

fn datagram(port: u16, message: &[u8]) -> Vec<u8> {
    let length = message.len() as u16;
    let mut frame = vec![0x45, 0];
    frame.extend((length + 28).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(port.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((length + 8).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(message);
    frame
}

fn query() -> Vec<u8> {
    let mut message = b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\x20".to_vec();
    message.extend(b"FHEPFCELEHFCEPFFFACACACACACACABN\0\0\x20\0\x01");
    message
}

fn nbns<'p, 'a>(packet: &'p Packet<'a>) -> Option<&'p Nbns<'a>> {
    match packet.layers.last() {
        Some(Layer::Nbns(message)) => Some(message),
        _ => None,
    }
}

#[test]
fn a_query_tells_whom_it_looks_for() {
    let frame = datagram(137, &query());
    let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
    let message = nbns(&packet).expect("the layer");
    let name = message.name().expect("a name");
    assert_eq!((name.text(), name.suffix()), (&b"WORKGROUP"[..], 0x1d));
    assert_eq!((message.id(), message.is_response()), (0x1234, false));
    assert_eq!(message.opcode_name(), Some("Name query"));
    assert_eq!((message.kind_name(), message.address()), (Some("NB"), None));
}

#[test]
fn an_answer_tells_the_address() {
    let mut message = query();
    message[2] = 0x85;
    (message[5], message[7]) = (0, 1);
    message.extend([0, 0, 0, 60, 0, 6, 0, 0, 192, 0, 2, 7]);
    let frame = datagram(137, &message);
    let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
    let address = nbns(&packet).expect("the layer").address();
    assert_eq!(address, Some([192, 0, 2, 7].into()));
    for len in 28 + 12..frame.len() {
        let packet = decode(
            LinkType::RawIp,
            &frame[..len],
            frame.len(),
            &Ports::default(),
        );
        let message = nbns(&packet).expect("the layer, cut");
        assert_eq!(message.address(), None, "{len}");
        assert_eq!(message.name().is_some(), len >= 28 + 45, "{len}");
    }
}

#[test]
fn other_bytes_on_its_port_and_its_bytes_on_others_are_not_it() {
    let other_name = {
        let mut message = query();
        message[12] = 3;
        message
    };
    for (port, message) in [
        (1137, query()),
        (137, other_name),
        (137, query()[..11].to_vec()),
        (137, vec![0; 50]),
    ] {
        let frame = datagram(port, &message);
        let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
        assert!(nbns(&packet).is_none(), "{port} {}", message.escape_ascii());
    }
}

#[test]
fn a_registration_tells_the_address_it_is_about() {
    let again = query()[12..46].to_vec();
    for name in [&b"\xc0\x0c"[..], &again] {
        let mut message = query();
        (message[2], message[11]) = (0x29, 1);
        message.extend_from_slice(name);
        message.extend([0, 0x20, 0, 1, 0, 0, 0, 60, 0, 6, 0x60, 0, 192, 0, 2, 9]);
        let frame = datagram(137, &message);
        let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
        let address = nbns(&packet).expect("the layer").address();
        assert_eq!(address, Some([192, 0, 2, 9].into()));
        // A record of another type, or with too few data, holds none.
        let record = message.len() - 16;
        for (at, byte) in [(record + 1, 0x21), (record, 1), (record + 9, 5)] {
            let mut other = message.clone();
            other[at] = byte;
            let frame = datagram(137, &other);
            let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
            assert_eq!(nbns(&packet).expect("the layer").address(), None, "{at}");
        }
    }
}

//! What packets say is untrusted: it reaches neither terminal nor JSON raw.

use super::build::*;
use super::craft::{Pcap, Pcapng};
use super::program::{Scratch, objects, overlay};
use std::path::PathBuf;

const MICROSECONDS: u32 = 0xa1b2_c3d4;

/// ESC, CSI as one character, end of line, bell, right-to-left override, not UTF-8.
const HOSTILE: [&[u8]; 6] = [
    b"\x1b[2J\x1b]0;x\x07",
    "\u{9b}31m".as_bytes(),
    b"a\nb\rc\td\0e",
    b"\x7f\x08\x08",
    "\u{202e}gnp.exe\u{2066}\u{200f}".as_bytes(),
    b"\xff\xfe\x80\xc3",
];

fn label(bytes: &[u8]) -> Vec<u8> {
    cat(&[&[bytes.len() as u8], bytes, &[0]])
}

/// The hostile bytes wherever a line shows bytes of the packet.
fn packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for bytes in HOSTILE {
        let name = label(bytes);
        let ask = cat(&[&name, &[0, 1, 0, 1]]);
        packets.push(ipv4(
            A,
            B,
            17,
            &udp(
                40000,
                53,
                &dns(1, 0x100, [std::slice::from_ref(&ask), &[], &[], &[]]),
            ),
        ));
        for (kind, data) in [
            (5u16, name.clone()),
            (16, label(bytes)[..=bytes.len()].to_vec()),
            (
                13,
                cat(&[&label(bytes)[..=bytes.len()], &label(bytes)[..=bytes.len()]]),
            ),
            (33, cat(&[&[0; 6], &name])),
        ] {
            let fixed = [
                kind.to_be_bytes(),
                [0, 1],
                [0, 0],
                [0, 9],
                (data.len() as u16).to_be_bytes(),
            ];
            let answer = cat(&[&name, &fixed.concat(), &data]);
            let message = dns(2, 0x8180, [std::slice::from_ref(&ask), &[answer], &[], &[]]);
            packets.push(ipv4(B, A, 17, &udp(53, 40000, &message)));
        }
        let get = cat(&[b"GET /", bytes, b" HTTP/1.1\r\nHost: x\r\n\r\n"]);
        let told = cat(&[
            b"HTTP/1.1 200 ",
            bytes,
            b"\r\nContent-Type: ",
            bytes,
            b"\r\n\r\n",
            bytes,
        ]);
        for payload in [get, told] {
            packets.push(
                Segment {
                    payload: &payload,
                    flags: 0x18,
                    ..SEGMENT
                }
                .forth(),
            );
        }
    }
    packets
}

fn file(scratch: &Scratch, packets: &[Vec<u8>]) -> PathBuf {
    let mut pcap = Pcap::new(false, MICROSECONDS, 262_144, 101);
    for packet in packets {
        pcap.record(1, 2, packet.len() as u32, packet);
    }
    scratch.file("hostile.pcap", &pcap.0.out)
}

/// No control character but ends of lines (and tabs of hex dumps), nothing that
/// turns the direction of text.
fn is_safe(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\n' | '\t')
            || !(c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    })
}

#[test]
fn names_cannot_command_a_terminal() {
    let scratch = Scratch::new("hostile");
    let packets = packets();
    let file = file(&scratch, &packets);
    let name = file.to_str().unwrap();
    let plain = overlay(&["-r", name]).fine().text();
    assert_eq!(
        plain.lines().count(),
        packets.len() + 3,
        "one line a packet: {plain}"
    );
    assert!(plain.contains(r"\x1b[2J"), "what was there stays visible");
    for flags in [
        &["-v"][..],
        &["-A"],
        &["-x"],
        &["-X"],
        &["-A", "--show-secrets"],
    ] {
        let arguments = [&["-r", name], flags].concat();
        let text = overlay(&arguments).fine().text();
        assert!(is_safe(&text), "{flags:?}: {text:?}");
    }
    // Colours are netdig's own; the packet's are not among them.
    let coloured = overlay(&["-r", name, "--color=always"]).fine().text();
    assert!(coloured.contains("\x1b[2m") && !coloured.contains("\x1b[2J"));
    let read = objects(&overlay(&["-r", name, "--format=json"]).fine().out);
    assert_eq!(read.len(), packets.len() + 1);
}

#[test]
fn what_a_capture_says_of_processes_is_untrusted_too() {
    let scratch = Scratch::new("hostile-comments");
    let packet = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    for bytes in HOSTILE {
        let mut pcapng = Pcapng::new(false);
        pcapng.section(&[(4, b"netdig 0.1.0")]);
        pcapng.interface(101, 0, &[(2, bytes)]);
        let comment = cat(&[b"PID: 77\nCmd: ", bytes, b"\nContainerName: ", bytes]);
        pcapng.enhanced(0, 1, packet.len() as u32, &packet, &[(1, &comment)]);
        let file = scratch.file("comments.pcapng", &pcapng.bytes());
        let name = file.to_str().unwrap();
        let text = overlay(&["-v", "-r", name]).fine().text();
        assert!(is_safe(&text), "{text:?}");
        assert_eq!(text.lines().count(), 1 + 3, "{text}");
        objects(&overlay(&["-r", name, "--format=json"]).fine().out);
    }
}

#[test]
fn credentials_are_shown_only_when_asked_for() {
    let scratch = Scratch::new("secrets");
    let requests: [(&[u8], &str); 6] = [
        (
            b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cr3t-1\r\n\r\n",
            "s3cr3t-1",
        ),
        (b"GET / HTTP/1.1\r\ncookie: id=s3cr3t-2\r\n\r\n", "s3cr3t-2"),
        (
            b"POST / HTTP/1.1\r\n\r\nuser=a&password=s3cr3t-3&b=c",
            "s3cr3t-3",
        ),
        (
            b"POST / HTTP/1.1\r\n\r\n{\"name\":\"root\",\"password\":\"s3cr3t-4\"}",
            "s3cr3t-4",
        ),
        (
            b"POST / HTTP/1.1\r\n\r\n{\"name\": \"root\", \"password\" : \"s3cr3t-5\"}",
            "s3cr3t-5",
        ),
        (
            b"GET /?token=s3cr3t-6 HTTP/1.1\r\nX-Auth-Token: s3cr3t-6\r\n\r\n",
            "s3cr3t-6",
        ),
    ];
    for (request, secret) in requests {
        let packet = Segment {
            payload: request,
            flags: 0x18,
            ..SEGMENT
        }
        .forth();
        let file = file(&scratch, &[packet]);
        let name = file.to_str().unwrap();
        for flag in ["-A", "-X"] {
            let masked = overlay(&["-r", name, flag]).fine().text();
            let shown = without_layout(&masked);
            assert!(!shown.contains(secret), "{flag}: {masked}");
            let whole = overlay(&["-r", name, flag, "--show-secrets"]).fine().text();
            assert!(without_layout(&whole).contains(secret), "{flag}: {whole}");
        }
    }
}

/// The text at the right of hex lines, or all of it.
fn without_layout(text: &str) -> String {
    let column = |line: &str| {
        line.strip_prefix("\t0x")
            .and_then(|line| line.get(48..).map(str::to_owned))
    };
    text.lines()
        .map(|line| column(line).unwrap_or_else(|| line.to_owned()))
        .collect()
}

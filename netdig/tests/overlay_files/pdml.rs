//! tshark's dissection of a file as trees of fields.

use super::program::tool;
use std::path::Path;
use std::process::Output;

/// A protocol or a field, with what stands within it.
#[derive(Debug, Default)]
pub struct Node {
    pub name: String,
    /// The value as filters have it; for text lines, the text.
    pub show: String,
    pub children: Vec<Node>,
}

impl Node {
    /// All nodes within this one with that name, in order.
    pub fn all<'a>(&'a self, name: &str) -> Vec<&'a Node> {
        let mut found = Vec::new();
        self.collect(name, &mut found);
        found
    }

    fn collect<'a>(&'a self, name: &str, found: &mut Vec<&'a Node>) {
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            child.collect(name, found);
        }
    }

    /// The first value with that name within this one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(|node| node.show.as_str())
    }

    /// The first value with that name, but not of the packet that an ICMP error
    /// quotes.
    pub fn own(&self, name: &str) -> Option<&str> {
        let quoted = |node: &Node| {
            matches!(
                node.name.as_str(),
                "ip" | "ipv6" | "tcp" | "udp" | "icmp" | "icmpv6"
            )
        };
        self.children.iter().find_map(|child| match child {
            child if child.name == name => Some(child.show.as_str()),
            child if quoted(child) => None,
            child => child.own(name),
        })
    }

    /// A child that is a line of text and begins so.
    pub fn line(&self, start: &str) -> Option<&Node> {
        let lines = self.children.iter().filter(|child| child.name.is_empty());
        lines
            .into_iter()
            .find(|child| child.show.starts_with(start))
    }
}

/// Ports that tshark has otherwise, or not at all.
pub const DECODE_AS: [&str; 5] = [
    "udp.port==8285,ip",
    "udp.port==8472,vxlan",
    "udp.port==6784,vxlan",
    "udp.port==5555,ip",
    "udp.port==5556,ipv6",
];

/// What tshark does otherwise than netdig by its own choice. What several packets
/// say together is put together as tshark does of itself.
const OTHERWISE: [&str; 2] = [
    // Of HTTP the head is all that netdig tells.
    "http.desegment_body:FALSE",
    // Bytes that were sent again say what they said before.
    "tcp.no_subdissector_on_error:FALSE",
];

/// The packets of a file as tshark dissects them, the ports told that it has otherwise; `None`
/// where there is no tshark.
pub fn dissect(file: &Path) -> Option<Vec<Node>> {
    let output = run(file, &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark failed: {said}");
    Some(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The first so many, of a file that may be cut short.
pub fn dissect_some(file: &Path, most: usize) -> Option<Vec<Node>> {
    let output = run(file, &["-c", &most.to_string()])?;
    Some(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The same, where a protocol's shape counts more than the port, as with netdig.
pub fn dissect_some_by_shape(file: &Path, most: usize) -> Option<Vec<Node>> {
    const SHAPE: [&str; 4] = [
        "-o",
        "tcp.try_heuristic_first:TRUE",
        // What RDP begins with has too little shape.
        "--disable-protocol",
        "tpkt",
    ];
    let output = run(file, &[&["-c", &most.to_string()][..], &SHAPE].concat())?;
    Some(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn run(file: &Path, more: &[&str]) -> Option<Output> {
    let mut arguments = vec![
        "-n",
        "-r",
        file.to_str().expect("a path of text"),
        "-T",
        "pdml",
    ];
    arguments.extend(DECODE_AS.iter().flat_map(|rule| ["-d", rule]));
    arguments.extend(OTHERWISE.iter().flat_map(|option| ["-o", option]));
    // It begins the flow anew in the middle of it, and the numbers with it.
    arguments.extend(["--disable-heuristic", "vnc_tcp"]);
    arguments.extend(more);
    tool("tshark", &arguments)
}

/// Values may hold ends of lines, but neither `<` nor `>`: those are escaped.
fn parse(text: &str) -> Vec<Node> {
    let mut packets = Vec::new();
    let mut open: Vec<Node> = Vec::new();
    for tag in text.split('<') {
        let tag = tag.split('>').next().unwrap_or_default();
        if tag == "packet" {
            open.push(Node::default());
        } else if tag.starts_with("proto ") || tag.starts_with("field ") {
            let node = Node {
                name: attribute(tag, "name"),
                show: attribute(tag, "show"),
                children: Vec::new(),
            };
            match (tag.ends_with('/'), open.last_mut()) {
                (true, Some(parent)) => parent.children.push(node),
                _ => open.push(node),
            }
        } else if tag == "/packet" {
            packets.extend(open.pop());
        } else if tag == "/proto" || tag == "/field" {
            let node = open.pop().expect("an open tag");
            open.last_mut().expect("a parent").children.push(node);
        }
    }
    packets
}

fn attribute(tag: &str, name: &str) -> String {
    let start = format!(" {name}=\"");
    let Some((_, rest)) = tag.split_once(&start) else {
        return String::new();
    };
    let value = rest.split('"').next().unwrap_or_default();
    let mut value = value.to_owned();
    for (escape, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ] {
        value = value.replace(escape, character);
    }
    value
}

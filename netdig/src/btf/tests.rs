use super::*;

/// Writes BTF: types and strings are appended, ids and offsets returned.
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
    first_id: u32,
    first_string: u32,
}

impl Writer {
    fn new() -> Writer {
        Writer {
            types: Vec::new(),
            strings: vec![0],
            count: 0,
            first_id: 1,
            first_string: 0,
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32 + self.first_string;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(
        &mut self,
        name: &str,
        kind: u8,
        flag: bool,
        count: u32,
        size: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.name(name);
        let info = u32::from(kind) << 24 | u32::from(flag) << 31 | count;
        for word in [name, info, size].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.first_id + self.count - 1
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, KIND_INT, false, 0, size, &[size * 8])
    }

    fn structure(&mut self, kind: u8, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        self.structure_flagged(kind, name, size, false, members)
    }

    fn structure_flagged(
        &mut self,
        kind: u8,
        name: &str,
        size: u32,
        flag: bool,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|&(name, id, at)| [self.name(name), id, at])
            .collect();
        self.add(name, kind, flag, members.len() as u32, size, &tail)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC.to_ne_bytes());
        out.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [HEADER_LEN as u32, 0, types, types, strings] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }
}

fn sample() -> Writer {
    let mut w = Writer::new();
    let int = w.int("unsigned int", 4);
    let short = w.int("unsigned short", 2);
    let port = w.add("__be16", KIND_TYPEDEF, false, 0, short, &[]);
    let pair = w.structure(
        KIND_STRUCT,
        "",
        4,
        &[("skc_dport", port, 0), ("skc_num", short, 16)],
    );
    let either = w.structure(
        KIND_UNION,
        "",
        4,
        &[("skc_portpair", int, 0), ("", pair, 0)],
    );
    let common = w.structure(
        KIND_STRUCT,
        "sock_common",
        12,
        &[("skc_addr", int, 0), ("", either, 64)],
    );
    let constant = w.add("", KIND_CONST, false, 0, common, &[]);
    let pointer = w.add("", KIND_PTR, false, 0, common, &[]);
    let array = w.add("", KIND_ARRAY, false, 0, 0, &[int, int, 3]);
    w.structure_flagged(
        KIND_STRUCT,
        "sock",
        64,
        true,
        &[
            ("sk_head", int, 0),
            ("__sk_common", constant, 32),
            ("sk_bits", int, 130 | 5 << 24),
            ("sk_next", pointer, 192),
            ("sk_words", array, 256),
        ],
    );
    w.add("sock_t", KIND_TYPEDEF, false, 0, w.first_id + 9, &[]);
    let enumerators = [w.name("MINUS"), -1i32 as u32, w.name("SEVEN"), 7];
    w.add("e", KIND_ENUM, true, 2, 4, &enumerators);
    let wide = [w.name("WIDE"), 1, 2];
    w.add("e64", KIND_ENUM64, false, 1, 8, &wide);
    w
}

fn plain(byte_offset: u32, size: u32) -> Field {
    Field {
        byte_offset,
        bit_offset: 0,
        bit_size: 0,
        size,
    }
}

#[test]
fn members_are_found_through_anonymous_ones_typedefs_and_qualifiers() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(
        btf.offset("sock", "__sk_common.skc_dport").unwrap(),
        plain(12, 2)
    );
    assert_eq!(
        btf.offset("sock", "__sk_common.skc_num").unwrap(),
        plain(14, 2)
    );
    assert_eq!(btf.offset("sock", "__sk_common").unwrap(), plain(4, 12));
    assert_eq!(btf.offset("sock_t", "sk_next").unwrap(), plain(24, 8));
    assert_eq!(btf.offset("sock", "sk_words").unwrap(), plain(32, 12));
    assert_eq!(
        btf.offset("sock", "sk_bits").unwrap(),
        Field {
            byte_offset: 16,
            bit_offset: 2,
            bit_size: 5,
            size: 1
        }
    );
    assert_eq!(btf.size_of("sock").unwrap(), 64);
    assert_eq!(btf.enum_value("MINUS").unwrap(), -1);
    assert_eq!(btf.enum_value("SEVEN").unwrap(), 7);
    assert_eq!(btf.enum_value("WIDE").unwrap(), 1 | 2 << 32);
}

#[test]
fn what_is_not_there_is_named() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    let said = |structure, path| btf.offset(structure, path).unwrap_err().to_string();
    assert_eq!(
        said("nosuch", "a"),
        "this kernel has no structure named `nosuch` in its type information"
    );
    assert_eq!(
        said("sock", "__sk_common.nosuch"),
        "this kernel's `__sk_common` has no member `nosuch` (looked for `__sk_common.nosuch`)"
    );
    assert!(said("sock", "sk_next.skc_addr").contains("`sk_next` of `sock` is no structure"));
    assert!(said("unsigned int", "x").contains("no structure named"));
    assert!(btf.enum_value("NOSUCH").is_err());
    assert!(matches!(
        Btf::load_file(Path::new("/nonexistent/vmlinux")),
        Err(BtfError::Missing { .. })
    ));
}

#[test]
fn structures_that_disagree_are_refused_and_those_that_agree_are_not() {
    let mut w = sample();
    w.structure(
        KIND_STRUCT,
        "sock",
        64,
        &[("sk_head", 1, 0), ("sk_next", 8, 64)],
    );
    let btf = Btf::parse(w.bytes()).unwrap();
    assert_eq!(btf.offset("sock", "sk_head").unwrap(), plain(0, 4));
    assert_eq!(btf.offset("sock", "sk_words").unwrap(), plain(32, 12));
    assert!(matches!(
        btf.offset("sock", "sk_next"),
        Err(BtfError::Ambiguous { .. })
    ));
}

#[test]
fn a_module_builds_on_the_kernel() {
    let base = sample();
    let mut module = Writer::new();
    (module.first_id, module.first_string) = (base.count + 1, base.strings.len() as u32);
    module.strings.clear();
    let sock = 10;
    module.structure(
        KIND_STRUCT,
        "tun_file",
        96,
        &[("sk", sock, 0), ("flags", 1, 512)],
    );
    let btf = Btf::parse(base.bytes()).unwrap();
    assert!(!btf.has("tun_file"));
    let btf = btf.with_module_bytes(module.bytes()).unwrap();
    assert_eq!(btf.offset("tun_file", "flags").unwrap(), plain(64, 4));
    assert_eq!(
        btf.offset("tun_file", "sk.__sk_common.skc_num").unwrap(),
        plain(14, 2)
    );
    assert_eq!(btf.offset("sock", "sk_head").unwrap(), plain(0, 4));
}

#[test]
fn the_other_byte_order_is_refused() {
    let mut bytes = sample().bytes();
    bytes.swap(0, 1);
    assert!(matches!(Btf::parse(bytes), Err(BtfError::OtherByteOrder)));
}

/// Asks for everything that the sample has; answers may be wrong, never a panic.
fn exercise(bytes: Vec<u8>) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for name in ["sock", "sock_t", "sock_common", "", "e"] {
        for path in [
            "__sk_common.skc_dport",
            "sk_bits",
            "sk_words",
            "",
            "nosuch",
            ".",
        ] {
            let _ = btf.offset(name, path);
        }
        let _ = btf.size_of(name);
    }
    let _ = btf.enum_value("WIDE");
}

#[test]
fn no_bytes_make_it_panic() {
    let whole = sample().bytes();
    for len in 0..whole.len() {
        exercise(whole[..len].to_vec());
    }
    for at in 0..whole.len() {
        for value in [0, 1, 4, 5, 8, 10, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            exercise(bytes);
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = HEADER_LEN + (state >> 8) as usize % (bytes.len() - HEADER_LEN);
            bytes[at] = state as u8 % 32;
        }
        exercise(bytes);
    }
}

#[test]
fn a_structure_that_contains_itself_ends() {
    let mut w = Writer::new();
    let members: Vec<_> = (0..60).map(|_| ("", 1, 0)).collect();
    w.structure(KIND_STRUCT, "loop", 8, &members);
    let typedef = w.count + 1;
    w.add("round", KIND_TYPEDEF, false, 0, typedef, &[]);
    let btf = Btf::parse(w.bytes()).unwrap();
    assert!(matches!(
        btf.offset("loop", "x"),
        Err(BtfError::NoMember { .. })
    ));
    assert!(btf.offset("round", "x").is_err());
}

/// The kernel that the tests run on, where it has BTF.
#[test]
fn the_running_kernel() {
    let btf = match Btf::load() {
        Ok(btf) => btf,
        Err(error) if std::env::var_os("CI").is_none() => {
            return eprintln!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(btf.size_of("in6_addr").unwrap(), 16);
    assert_eq!(btf.offset("iphdr", "protocol").unwrap(), plain(9, 1));
    assert_eq!(btf.offset("iphdr", "daddr").unwrap(), plain(16, 4));
    assert_eq!(btf.offset("task_struct", "comm").unwrap().size, 16);
    assert_eq!(btf.offset("task_struct", "files").unwrap().size, 8);
    assert_eq!(btf.offset("sock", "__sk_common.skc_dport").unwrap().size, 2);
    let protocol = btf.offset("sock", "sk_protocol").unwrap();
    assert!(protocol.byte_offset > 0 && protocol.bit_offset == 0);
    assert_eq!(btf.enum_value("PIDTYPE_TGID").unwrap(), 1);
    assert!(btf.offset("sk_buff", "cloned").unwrap().bit_size == 1);
}

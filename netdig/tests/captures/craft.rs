//! Capture files made by hand, as the formats' drafts describe them.

/// Bytes in one byte order.
pub struct Bytes {
    pub big: bool,
    pub out: Vec<u8>,
}

impl Bytes {
    pub fn new(big: bool) -> Bytes {
        Bytes {
            big,
            out: Vec::new(),
        }
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.out.extend(if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend(if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend(if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    fn pad(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
}

/// A file header of classic pcap, and records after it.
pub struct Pcap(pub Bytes);

impl Pcap {
    pub fn new(big: bool, magic: u32, snaplen: u32, link: u32) -> Pcap {
        let mut bytes = Bytes::new(big);
        bytes
            .u32(magic)
            .u16(2)
            .u16(4)
            .u32(0)
            .u32(0)
            .u32(snaplen)
            .u32(link);
        Pcap(bytes)
    }

    pub fn record(&mut self, seconds: u32, fraction: u32, orig: u32, data: &[u8]) -> &mut Self {
        self.0
            .u32(seconds)
            .u32(fraction)
            .u32(data.len() as u32)
            .u32(orig)
            .raw(data);
        self
    }
}

/// A pcapng made block by block.
pub struct Pcapng(pub Bytes);

pub type Option16<'a> = (u16, &'a [u8]);

impl Pcapng {
    pub fn new(big: bool) -> Pcapng {
        let mut file = Pcapng(Bytes::new(big));
        file.section(&[]);
        file
    }

    pub fn block(&mut self, kind: u32, body: impl FnOnce(&mut Bytes)) -> &mut Self {
        let mut inner = Bytes::new(self.0.big);
        body(&mut inner);
        inner.pad();
        let len = inner.out.len() as u32 + 12;
        self.0.u32(kind).u32(len).raw(&inner.out).u32(len);
        self
    }

    pub fn section(&mut self, options: &[Option16]) -> &mut Self {
        self.block(0x0a0d_0d0a, |b| {
            b.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
            write_options(b, options);
        })
    }

    pub fn interface(&mut self, link: u16, snaplen: u32, options: &[Option16]) -> &mut Self {
        self.block(1, |b| {
            b.u16(link).u16(0).u32(snaplen);
            write_options(b, options);
        })
    }

    pub fn enhanced(
        &mut self,
        interface: u32,
        ticks: u64,
        orig: u32,
        data: &[u8],
        options: &[Option16],
    ) -> &mut Self {
        self.block(6, |b| {
            b.u32(interface)
                .u32((ticks >> 32) as u32)
                .u32(ticks as u32)
                .u32(data.len() as u32)
                .u32(orig)
                .raw(data);
            b.pad();
            write_options(b, options);
        })
    }

    pub fn simple(&mut self, orig: u32, data: &[u8]) -> &mut Self {
        self.block(3, |b| {
            b.u32(orig).raw(data);
        })
    }

    pub fn obsolete(&mut self, interface: u16, ticks: u64, orig: u32, data: &[u8]) -> &mut Self {
        self.block(2, |b| {
            b.u16(interface)
                .u16(0xffff)
                .u32((ticks >> 32) as u32)
                .u32(ticks as u32);
            b.u32(data.len() as u32).u32(orig).raw(data);
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.out.clone()
    }
}

fn write_options(bytes: &mut Bytes, options: &[Option16]) {
    for (code, value) in options {
        bytes.u16(*code).u16(value.len() as u16).raw(value);
        bytes.pad();
    }
    if !options.is_empty() {
        bytes.u32(0);
    }
}

/// A bare IPv4 UDP packet of `len` bytes in all, at least 28.
pub fn udp(len: usize, id: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((len as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0, 0, 64, 17, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3]);
    packet.extend([0x30, 0x39, 0x20, 0x5d]);
    packet.extend((len as u16 - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.resize(len, b'x');
    packet
}

/// The same in an Ethernet frame.
pub fn ethernet(len: usize, id: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend(udp(len - 14, id));
    frame
}

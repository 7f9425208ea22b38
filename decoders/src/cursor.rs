//! The place in a frame that decoding has reached.

use crate::layer::{Layer, Span};
use crate::length::{LengthSource, Shortage};
use crate::packet::{MAX_ENCAPSULATIONS, Packet};
use crate::stop::{Reason, Stop};
use crate::{Encap, Error, LinkType};

/// What to decode at the cursor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next {
    Ethernet,
    EtherType(u16),
    Vlan,
    LinuxSll,
    LinuxSll2,
    Loopback {
        network_order: bool,
    },
    Arp,
    /// IPv4 or IPv6, by the first nibble.
    Ip,
    Ipv4,
    Ipv6,
    /// An IP protocol number in a packet of that IP version.
    Protocol {
        number: u8,
        version: u8,
    },
    Udp,
    Tcp,
    FlannelUdp,
    Vxlan,
    Geneve,
    RareTunnel(Encap),
    ErspanI,
    Erspan,
    RareLink(LinkType),
    Done,
}

impl Next {
    pub(crate) fn first(link: LinkType) -> Next {
        match link {
            LinkType::Null => Next::Loopback {
                network_order: false,
            },
            LinkType::Loop => Next::Loopback {
                network_order: true,
            },
            LinkType::Ethernet => Next::Ethernet,
            LinkType::RawIp => Next::Ip,
            LinkType::LinuxSll => Next::LinuxSll,
            LinkType::LinuxSll2 => Next::LinuxSll2,
            LinkType::Ipv4 => Next::Ipv4,
            LinkType::Ipv6 => Next::Ipv6,
            rare => Next::RareLink(rare),
        }
    }
}

impl From<Encap> for Next {
    fn from(encap: Encap) -> Next {
        match encap {
            Encap::FlannelUdp => Next::FlannelUdp,
            Encap::Vxlan => Next::Vxlan,
            Encap::Geneve => Next::Geneve,
            rare => Next::RareTunnel(rare),
        }
    }
}

/// Offsets count from the frame's first byte; `at <= end` always holds, and
/// both may lie beyond the captured bytes.
pub(crate) struct Cursor<'p, 'a> {
    packet: &'p mut Packet<'a>,
    at: usize,
    /// Where the layer around ends, by what its lengths say.
    end: usize,
    /// Which length that is.
    end_from: LengthSource,
    depth: usize,
    /// Whether the bytes are the first fragment of more: lengths within may
    /// then rightly reach beyond `end`.
    pub(crate) first_fragment: bool,
    /// First length that promised more than there is, where decoding went on
    /// with what there is.
    overlong: Option<Stop>,
}

impl<'p, 'a> Cursor<'p, 'a> {
    pub(crate) fn new(packet: &'p mut Packet<'a>) -> Cursor<'p, 'a> {
        let end = packet.orig_len;
        Cursor {
            packet,
            at: 0,
            end,
            end_from: LengthSource::Frame,
            depth: 0,
            first_fragment: false,
            overlong: None,
        }
    }

    /// Goes on at a byte of a packet that has layers already: behind them is
    /// all that its bytes hold.
    #[cfg(feature = "std")]
    pub(crate) fn resume(packet: &'p mut Packet<'a>, at: usize) -> Cursor<'p, 'a> {
        let depth = packet.layers.iter().filter(|layer| layer.is_tunnel());
        let depth = depth.count();
        Cursor {
            at: at.min(packet.orig_len),
            end_from: LengthSource::PutTogether,
            depth,
            ..Cursor::new(packet)
        }
    }

    /// Notes that an IP packet is a fragment of a larger one.
    pub(crate) fn is_fragment(&mut self) {
        self.packet.fragmented = true;
    }

    /// The captured bytes from here to where the layer around ends.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        let data: &'a [u8] = self.packet.data;
        let to = self.end.min(data.len());
        data.get(self.at..to).unwrap_or(&[])
    }

    /// Bytes of the frame before the cursor.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes from here to where the layer around ends, captured or not.
    #[inline]
    pub(crate) fn wire_len(&self) -> usize {
        self.end - self.at
    }

    /// From here to where the layer around ends.
    #[inline]
    pub(crate) fn span(&self) -> Span {
        Span {
            start: self.at as u32,
            end: self.end as u32,
        }
    }

    /// Adds a layer and goes past its header.
    #[inline]
    pub(crate) fn push(&mut self, layer: Layer<'a>, header_len: usize, next: Next) -> Next {
        if self.packet.layers.is_full() {
            return self.stop(layer.name(), Reason::TooManyLayers);
        }
        self.packet.layers.push(layer);
        self.at = (self.at + header_len).min(self.end);
        next
    }

    /// The layer before this place.
    pub(crate) fn last(&self) -> Option<&Layer<'a>> {
        self.packet.layers.last()
    }

    /// Goes past bytes that belong to no layer.
    pub(crate) fn skip(&mut self, len: usize) {
        self.at = (self.at + len).min(self.end);
    }

    /// Lets the layer at the cursor end `len` bytes from here, as the length field
    /// `from` in its header says, if the layer around holds as many; otherwise
    /// notes that and keeps to the latter.
    #[inline]
    pub(crate) fn limit(&mut self, from: LengthSource, len: usize) {
        if len <= self.wire_len() {
            self.end = self.at + len;
            self.end_from = from;
        } else if !self.first_fragment && self.overlong.is_none() {
            self.overlong = Some(self.beyond(from.layer(), len));
        }
    }

    #[cold]
    fn beyond(&self, layer: &'static str, declared: usize) -> Stop {
        let available = self.wire_len();
        Stop {
            layer,
            offset: self.at,
            reason: Reason::LengthBeyond {
                declared,
                available,
            },
            shortage: Some(Shortage {
                needed: declared,
                had: available,
                length_from: self.end_from,
            }),
        }
    }

    /// Enters a tunnel; `false` where it is one too many.
    pub(crate) fn descend(&mut self) -> bool {
        self.depth += 1;
        // What is in the tunnel has headers of its own.
        self.first_fragment = false;
        self.depth <= MAX_ENCAPSULATIONS
    }

    /// Ends decoding here.
    #[cold]
    pub(crate) fn stop(&mut self, layer: &'static str, reason: Reason) -> Next {
        let had = self.wire_len();
        let shortage = match reason {
            Reason::Cut { missing } => {
                let had = self.rest().len();
                Some((had + missing, had, LengthSource::Capture))
            }
            Reason::Segmented { missing } => Some((had + missing, had, LengthSource::TcpSegment)),
            Reason::TooShort { needed, available } => Some((needed, available, self.end_from)),
            _ => None,
        };
        self.stop_short(layer, reason, shortage)
    }

    /// Ends decoding for want of bytes: cut by the capture, or really too short.
    #[cold]
    pub(crate) fn too_short(&mut self, layer: &'static str, needed: usize) -> Next {
        let available = self.wire_len();
        let had = self.rest().len();
        if available < needed || had >= available {
            return self.stop(layer, Reason::TooShort { needed, available });
        }
        let reason = Reason::Cut {
            missing: available - had,
        };
        self.stop_short(layer, reason, Some((needed, had, LengthSource::Capture)))
    }

    /// Ends decoding where the layer's own length field, `from`, says less than
    /// its header needs.
    #[cold]
    pub(crate) fn too_small(&mut self, from: LengthSource, declared: usize, least: usize) -> Next {
        let reason = Reason::LengthTooSmall {
            declared,
            minimum: least,
        };
        self.stop_short(from.layer(), reason, Some((least, declared, from)))
    }

    /// Bytes needed from the cursor on, bytes had, and by what.
    fn stop_short(
        &mut self,
        layer: &'static str,
        reason: Reason,
        shortage: Option<(usize, usize, LengthSource)>,
    ) -> Next {
        let offset = self.at.min(self.packet.data.len());
        // The cursor may be past what was captured, the offset is not.
        let before = self.at - offset;
        let shortage = shortage.map(|(needed, had, length_from)| Shortage {
            needed: needed + before,
            had: match length_from {
                LengthSource::Capture => had,
                _ => had + before,
            },
            length_from,
        });
        self.packet.stop = Some(Stop {
            layer,
            offset,
            reason,
            shortage,
        });
        Next::Done
    }

    /// The last word: what did not keep decoding from going on.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if self.packet.stop.is_some() {
            return;
        }
        if self.overlong.is_some() {
            self.packet.stop = self.overlong;
        } else if self.is_cut() {
            self.packet.stop = self.cut();
        }
    }

    /// Whether the capture ends within the last layer.
    #[inline]
    fn is_cut(&self) -> bool {
        let last = self.packet.layers.last();
        last.is_some_and(|last| last.span().end as usize > self.packet.data.len())
    }

    /// That it does, as a stop.
    #[cold]
    fn cut(&self) -> Option<Stop> {
        let captured = self.packet.data.len();
        let last = self.packet.layers.last().filter(|_| self.is_cut())?;
        let missing = last.span().end as usize - captured;
        Some(Stop {
            layer: last.name(),
            offset: captured,
            reason: Reason::Cut { missing },
            shortage: Some(Shortage {
                needed: missing,
                had: 0,
                length_from: LengthSource::Capture,
            }),
        })
    }

    /// The first fault, to be asked for at the end: a length that promised too much
    /// was met before decoding stopped, and one that stopped for another reason than
    /// a fault may be cut all the same.
    pub(crate) fn error(&self) -> Option<Error> {
        let stops = [self.overlong, self.packet.stop, self.cut()];
        stops.into_iter().flatten().find_map(Error::of)
    }
}

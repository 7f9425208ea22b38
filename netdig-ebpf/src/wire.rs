//! Where tunnel datagrams come from, as the wire has it.
//!
//! flanneld receives with `recv`, which asks for no source address, and the
//! socket does not keep one. So each datagram on a tunnel port leaves its outer
//! source under the first bytes of its payload, and the receive looks it up.
//! Attached only when such a receive is seen: it costs a little for every packet
//! that the host receives.
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use netdig_ebpf::{Address, WIRE_KEY, WireSource};

use crate::{
    file::{AF_INET, AF_INET6, port_listed},
    kernel::{load, read},
    maps::{WIRE, config},
};

const IPPROTO_UDP: u8 = 17;
const UDP_HEADER: u64 = 8;
/// More-fragments flag and offset: only a first or only fragment has ports.
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[btf_tracepoint(function = "netif_receive_skb")]
pub fn datagram_arrived(ctx: BtfTracePointContext) -> i32 {
    let skb: u64 = ctx.arg(0);
    unsafe {
        let data: u64 = load(skb, config!(offsets.skb_data));
        let first: [u8; 20] = read(data);
        let (header, mut source) = match first[0] >> 4 {
            4 => {
                let fragment = u16::from_be_bytes([first[6], first[7]]) & FRAGMENT_OFFSET;
                if first[9] != IPPROTO_UDP || fragment != 0 {
                    return 0;
                }
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&first[12..16]);
                (
                    u64::from(first[0] & 15) * 4,
                    Address {
                        bytes,
                        port: 0,
                        family: AF_INET,
                    },
                )
            }
            6 => {
                if first[6] != IPPROTO_UDP {
                    return 0;
                }
                (
                    40,
                    Address {
                        bytes: read(data + 8),
                        port: 0,
                        family: AF_INET6,
                    },
                )
            }
            _ => return 0,
        };
        let ports: [u16; 2] = read(data + header);
        if !port_listed(u16::from_be(ports[1])) {
            return 0;
        }
        let length: u32 = load(skb, config!(offsets.skb_len));
        let paged: u32 = load(skb, config!(offsets.skb_data_len));
        let linear = length.wrapping_sub(paged);
        if u64::from(linear) < header + UDP_HEADER + WIRE_KEY as u64 {
            return 0;
        }
        source.port = u16::from_be(ports[0]);
        let key: [u8; WIRE_KEY] = read(data + header + UDP_HEADER);
        let _ = WIRE.insert(&key, &WireSource { source, pad: 0 }, 0);
    }
    0
}

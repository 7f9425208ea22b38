//! Packets off a network link: an AF_PACKET socket with a TPACKET_V3 ring.

//! The tun device, made and configured as flannel does it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};

use super::options::TunnelOptions;
use crate::lab::ip;

/// Opens `/dev/net/tun` non-blocking and makes it the device `name`: layer 3,
/// no packet information in front of packets. The device goes with the file.
pub fn open(name: &str) -> Result<File> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0', '%', ' ']) {
        bail!(
            "`{name}` cannot be the name of a network device: 1 to 15 characters, no slash, space or percent sign"
        );
    }
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context(
            "cannot open /dev/net/tun; the tunnel needs root and the tun module (`modprobe tun`)",
        )?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which is what it is given.
    if unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &mut request) } < 0 {
        let error = io::Error::last_os_error();
        return Err(error)
            .with_context(|| format!("cannot make the tun device {name} (TUNSETIFF)"));
    }
    Ok(tun)
}

/// Gives the device its address as a /32, so that no broadcast routes arise,
/// its MTU, and a route for the whole overlay network. As in flannel, a route
/// for that network that is there already is left alone.
pub fn configure(options: &TunnelOptions) -> Result<()> {
    let (tun, address) = (&options.tun, options.address);
    ip::batch(
        None,
        &[
            format!("address add {}/32 dev {tun}", address.address),
            format!("link set dev {tun} mtu {} up", options.mtu),
        ],
    )?;
    let network = address.network();
    match ip::run(&["route", "add", &network.to_string(), "dev", tun]) {
        Err(error) if error.to_string().contains("File exists") => {
            crate::lab::tell!(
                "netdig lab tunnel: a route to {network} exists already and was left alone, as flannel does"
            );
            Ok(())
        }
        other => other,
    }
}

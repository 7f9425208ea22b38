//! `subnet.env`, from which dockerd's unit learns its bridge's address and MTU.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::tunnel::Ipv4Net;

/// Written beside its place and renamed, so that no reader sees half of it.
pub fn write(path: &Path, network: Ipv4Net, subnet: Ipv4Net, mtu: u32) -> Result<()> {
    let first = Ipv4Net {
        address: Ipv4Addr::from_bits(subnet.address.to_bits() | 1),
        prefix: subnet.prefix,
    };
    let text = format!(
        "FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={first}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=false\n"
    );
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut staged = folder.to_owned();
    staged.push(format!(
        ".{}",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    fs::write(&staged, text).with_context(|| format!("cannot write {}", staged.display()))?;
    fs::rename(&staged, path).with_context(|| format!("cannot replace {}", path.display()))
}

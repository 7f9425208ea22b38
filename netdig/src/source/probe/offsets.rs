//! Where the probe finds what it needs in the kernel's structs: resolved from
//! BTF when it is loaded, so that one object serves every kernel.
use netdig_ebpf::{Offsets, TypeIds};

use crate::btf::{Btf, BtfError};

/// Struct members as BTF names them, and the field of [`Offsets`] each fills.
type Member = (&'static str, &'static str, fn(&mut Offsets) -> &mut u32);

const MEMBERS: &[Member] = &[
    ("task_struct", "tgid", |o| &mut o.task_tgid),
    ("task_struct", "pid", |o| &mut o.task_pid),
    ("task_struct", "comm", |o| &mut o.task_comm),
    ("task_struct", "files", |o| &mut o.task_files),
    ("task_struct", "nsproxy", |o| &mut o.task_nsproxy),
    ("task_struct", "mm", |o| &mut o.task_mm),
    ("task_struct", "real_parent", |o| &mut o.task_real_parent),
    ("task_struct", "cred", |o| &mut o.task_cred),
    ("task_struct", "signal", |o| &mut o.task_signal),
    ("task_struct", "exit_code", |o| &mut o.task_exit_code),
    ("signal_struct", "live", |o| &mut o.signal_live),
    ("cred", "uid", |o| &mut o.cred_uid),
    ("mm_struct", "arg_start", |o| &mut o.mm_arg_start),
    ("mm_struct", "arg_end", |o| &mut o.mm_arg_end),
    ("nsproxy", "net_ns", |o| &mut o.nsproxy_net),
    ("net", "ns.inum", |o| &mut o.net_inum),
    ("files_struct", "fdt", |o| &mut o.files_fdt),
    ("fdtable", "max_fds", |o| &mut o.fdt_max),
    ("fdtable", "fd", |o| &mut o.fdt_fd),
    ("fdtable", "close_on_exec", |o| &mut o.fdt_cloexec),
    ("file", "f_inode", |o| &mut o.file_inode),
    ("file", "private_data", |o| &mut o.file_private),
    ("inode", "i_mode", |o| &mut o.inode_mode),
    ("inode", "i_rdev", |o| &mut o.inode_rdev),
    ("inode", "i_ino", |o| &mut o.inode_ino),
    ("socket", "type", |o| &mut o.socket_type),
    ("socket", "sk", |o| &mut o.socket_sk),
    ("sock", "__sk_common.skc_family", |o| &mut o.sk_family),
    ("sock", "sk_protocol", |o| &mut o.sk_protocol),
    ("sock", "__sk_common.skc_num", |o| &mut o.sk_num),
    ("sock", "__sk_common.skc_dport", |o| &mut o.sk_dport),
    ("sock", "__sk_common.skc_rcv_saddr", |o| &mut o.sk_rcv_saddr),
    ("sock", "__sk_common.skc_daddr", |o| &mut o.sk_daddr),
    ("sk_buff", "data", |o| &mut o.skb_data),
    ("sk_buff", "len", |o| &mut o.skb_len),
    ("sk_buff", "data_len", |o| &mut o.skb_data_len),
    ("linux_binprm", "filename", |o| &mut o.bprm_filename),
];

/// Members of kernels with IPv6; without them IPv6 sockets do not exist.
const IPV6_MEMBERS: &[Member] = &[
    ("sock", "__sk_common.skc_v6_rcv_saddr", |o| {
        &mut o.sk_v6_rcv_saddr
    }),
    ("sock", "__sk_common.skc_v6_daddr", |o| &mut o.sk_v6_daddr),
];

/// Members of the tun driver, which is often a module.
const TUN_MEMBERS: &[Member] = &[
    ("tun_file", "tun", |o| &mut o.tfile_tun),
    ("tun_struct", "flags", |o| &mut o.tun_flags),
    ("tun_struct", "vnet_hdr_sz", |o| &mut o.tun_vnet_hdr),
    ("tun_struct", "dev", |o| &mut o.tun_dev),
    ("net_device", "name", |o| &mut o.dev_name),
];

/// Members on the way from a task to the id of its cgroup. On a kernel without
/// them a helper is asked.
const CGROUP_MEMBERS: &[Member] = &[
    ("task_struct", "cgroups", |o| &mut o.task_cgroups),
    ("css_set", "dfl_cgrp", |o| &mut o.css_set_cgroup),
    ("cgroup", "kn", |o| &mut o.cgroup_kn),
    ("kernfs_node", "id", |o| &mut o.kn_id),
];

/// The registers that hold a call's number and arguments when it ends.
#[cfg(target_arch = "x86_64")]
const REGISTERS: [&str; 7] = ["orig_ax", "di", "si", "dx", "r10", "r8", "r9"];
/// `regs[0]` holds the result by then; the first argument is kept aside.
#[cfg(target_arch = "aarch64")]
const REGISTERS: [&str; 7] = ["syscallno", "orig_x0", "", "", "", "", ""];

/// Word of the task, and the bits in it, that tell a 32-bit call.
#[cfg(target_arch = "x86_64")]
const COMPAT: (&str, u32) = ("thread_info.status", 0x2);
#[cfg(target_arch = "aarch64")]
const COMPAT: (&str, u32) = ("thread_info.flags", 1 << 22);

/// What was found.
pub struct Layout {
    pub offsets: Offsets,
    pub compat_mask: u32,
    pub cgroup_known: bool,
    /// Whether the tun driver's structs are known; if not, interfaces of tun
    /// descriptors come from /proc.
    pub tun_known: bool,
    /// Whether they are the kernel's own rather than a module's.
    pub tun_builtin: bool,
}

/// Resolves every offset. Fails where the kernel lacks a member without which
/// the probe cannot tell descriptors apart.
pub fn resolve() -> Result<Layout, BtfError> {
    let mut btf = Btf::load()?;
    let mut offsets = Offsets::default();
    fill(&btf, MEMBERS, &mut offsets)?;
    // Absent on kernels without IPv6: then no socket has that family.
    let _ = fill(&btf, IPV6_MEMBERS, &mut offsets);
    let cgroup_known = fill(&btf, CGROUP_MEMBERS, &mut offsets).is_ok();
    offsets.regs_nr = member(&btf, "pt_regs", REGISTERS[0])?;
    for (slot, name) in REGISTERS[1..].iter().enumerate() {
        offsets.regs_arg[slot] = match *name {
            "" => member(&btf, "pt_regs", "regs")? + 8 * slot as u32,
            name => member(&btf, "pt_regs", name)?,
        };
    }
    offsets.task_compat = member(&btf, "task_struct", COMPAT.0)?;
    let tun_builtin = btf.has("tun_file");
    if !tun_builtin {
        btf = match btf.with_module("tun") {
            Ok(btf) => btf,
            Err(_) => Btf::load()?,
        };
    }
    let tun_known = fill(&btf, TUN_MEMBERS, &mut offsets).is_ok();
    Ok(Layout {
        offsets,
        compat_mask: COMPAT.1,
        cgroup_known,
        tun_known,
        tun_builtin,
    })
}

fn fill(btf: &Btf, members: &[Member], offsets: &mut Offsets) -> Result<(), BtfError> {
    for (structure, path, slot) in members {
        *slot(offsets) = member(btf, structure, path)?;
    }
    Ok(())
}

fn member(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    Ok(btf.offset(structure, path)?.byte_offset)
}

/// Ids of the kernel functions that keep other tasks off the CPU, and let them on
/// again; `None` where there are none (before 6.10).
pub fn preemption(btf: &aya::Btf) -> Option<(u32, u32)> {
    use aya_obj::btf::BtfKind::Func;
    let id = |name| btf.id_by_type_name_kind(name, Func).ok();
    Some((id("bpf_preempt_disable")?, id("bpf_preempt_enable")?))
}

/// Type ids for typed reads, and the id of the kernel function that casts; `None`
/// where the kernel has no such function (before 6.2).
pub fn type_ids(btf: &aya::Btf, tun_builtin: bool) -> Option<(TypeIds, u32)> {
    use aya_obj::btf::BtfKind::{Func, Struct};
    let id = |name| btf.id_by_type_name_kind(name, Struct).ok();
    let cast = btf.id_by_type_name_kind("bpf_rdonly_cast", Func).ok()?;
    let tun = |name| if tun_builtin { id(name) } else { Some(0) };
    let types = TypeIds {
        file: id("file")?,
        inode: id("inode")?,
        socket: id("socket")?,
        sock: id("sock")?,
        tun_file: tun("tun_file")?,
        tun_struct: tun("tun_struct")?,
        net_device: id("net_device")?,
        slot: id("list_head")?,
    };
    Some((types, cast))
}

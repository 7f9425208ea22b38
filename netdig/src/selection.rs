//! Which packets a person asked for, as far as the kernel side cannot tell.
use rustc_hash::FxHashSet;

use crate::observation::{FdChange, FdKind, Frame, Observation, ProcessChange, Via};
use crate::tracker::Process;

/// What must hold of a packet; an empty list asks nothing.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Tun devices by name; a tunnel socket's packets count as the tun's whose
    /// process it is.
    pub tuns: Vec<String>,
    /// Processes known to hold those tuns.
    pub tun_pids: FxHashSet<u32>,
    pub pids: Vec<u32>,
    pub comms: Vec<Vec<u8>>,
    /// Full ids or their beginnings.
    pub container_ids: Vec<String>,
    pub container_names: Vec<String>,
    pub netns: Option<u32>,
}

impl Selection {
    /// Whether it can only be told with the process's container.
    pub fn needs_processes(&self) -> bool {
        !self.container_ids.is_empty() || !self.container_names.is_empty()
    }

    /// Whether a packet is one of those asked for. Packets of links have no
    /// process: where one is asked for, they are not.
    pub fn admits(&self, frame: &Frame<'_>, process: Option<&Process>) -> bool {
        let of_link = frame.via == Via::Link;
        self.admits_process(frame)
            && self.admits_container(process)
            && (of_link || self.netns.is_none() || frame.netns == self.netns)
    }

    /// Whether a tunnel's packet belongs to a tun that was asked for, as far as
    /// this side tells: of a socket, only whose process it is.
    pub fn admits_tun(&mut self, frame: &Frame<'_>) -> bool {
        if self.tuns.is_empty() || !frame.via.is_tunnel_side() {
            return true;
        }
        let pid = frame.process.map_or(0, |actor| actor.pid);
        match frame.fd.as_ref().map(|fd| &fd.kind) {
            Some(kind @ FdKind::Tun { .. }) => self.holds(pid, kind),
            _ => self.tun_pids.contains(&pid),
        }
    }

    /// Whether `kind` is a tun that was asked for; `pid` is then one of its holders.
    fn holds(&mut self, pid: u32, kind: &FdKind) -> bool {
        let FdKind::Tun { interface, .. } = kind else {
            return false;
        };
        let named = self.tuns.iter().any(|name| **name == **interface);
        if named {
            self.tun_pids.insert(pid);
        }
        named
    }

    /// Takes note of who comes to hold a tun, before its first packet.
    pub fn notice(&mut self, observation: &Observation<'_>) {
        if self.tuns.is_empty() {
            return;
        }
        match observation {
            Observation::Fd(event) => {
                if let FdChange::New { fd, .. } | FdChange::Updated { fd } = &event.change {
                    self.holds(event.actor.pid, &fd.kind);
                }
            }
            Observation::Process(event) => match event.change {
                ProcessChange::Fork { parent, .. } if self.tun_pids.contains(&parent) => {
                    self.tun_pids.insert(event.actor.pid);
                }
                ProcessChange::Exit { last: true, .. } => {
                    self.tun_pids.remove(&event.actor.pid);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn admits_process(&self, frame: &Frame<'_>) -> bool {
        if self.pids.is_empty() && self.comms.is_empty() {
            return true;
        }
        let Some(actor) = frame.process else {
            return false;
        };
        (self.pids.is_empty() || self.pids.contains(&actor.pid))
            && (self.comms.is_empty() || self.comms.iter().any(|comm| comm == actor.comm()))
    }

    fn admits_container(&self, process: Option<&Process>) -> bool {
        if !self.needs_processes() {
            return true;
        }
        let Some(container) = process.and_then(|process| process.container.as_ref()) else {
            return false;
        };
        let by_id = |id: &String| container.id.starts_with(id.as_str());
        (self.container_ids.is_empty() || self.container_ids.iter().any(by_id))
            && (self.container_names.is_empty() || self.container_names.contains(&container.name))
    }
}

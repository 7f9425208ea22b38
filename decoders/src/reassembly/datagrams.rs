//! Fragments of IP datagrams, kept until they are whole: RFC 791, RFC 815,
//! RFC 8200 section 4.5, RFC 5722.

use super::{Cause, Limits, MAX_IP, Totals};
use alloc::{boxed::Box, vec::Vec};
use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

/// What a datagram under way costs beside its bytes: its place in both maps.
const OVERHEAD: usize = 320;

/// What fragments of one datagram have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) id: u32,
    /// 0 for IPv6, whose fragments need not have the same (RFC 8200).
    pub(super) protocol: u8,
    pub(super) context: u64,
}

/// One fragment.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) key: Key,
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) bytes: &'a [u8],
    /// Bytes of header that count for the greatest length.
    pub(super) header_len: usize,
    /// Protocol or next header.
    pub(super) next: u8,
    pub(super) frame: u64,
    pub(super) time_ns: u64,
}

/// A datagram's payload, whole again.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: Vec<u64>,
    /// Protocol or next header of the first fragment.
    pub(super) next: u8,
}

#[derive(Debug)]
struct Part {
    start: usize,
    frame: u64,
    bytes: Box<[u8]>,
}

impl Part {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }
}

#[derive(Debug)]
struct Datagram {
    serial: u64,
    begun_ns: u64,
    is_v6: bool,
    /// By their start; of equal starts the earlier first.
    parts: Vec<Part>,
    /// Bytes of all parts.
    len: usize,
    /// Where the last fragment ends.
    total: Option<usize>,
    next: Option<u8>,
    /// Given up: what still comes of it is not kept.
    is_refused: bool,
}

impl Datagram {
    fn cost(&self) -> usize {
        OVERHEAD + self.len + self.parts.capacity() * size_of::<Part>()
    }

    /// Takes a fragment in, or tells why the datagram cannot be any more.
    fn add(&mut self, fragment: &Fragment<'_>, most_parts: usize) -> Result<(), Cause> {
        let end = fragment.offset + fragment.bytes.len();
        if fragment.header_len + end > MAX_IP {
            return Err(Cause::Length);
        }
        if self.is_v6 && fragment.more && !fragment.bytes.len().is_multiple_of(8) {
            return Err(Cause::Length);
        }
        let reached = self.parts.iter().map(Part::end).max().unwrap_or(0);
        if !fragment.more {
            if self.total.is_some_and(|total| total != end) || reached > end {
                return Err(Cause::Length);
            }
            self.total = Some(end);
        } else if self.total.is_some_and(|total| end > total) {
            return Err(Cause::Length);
        }
        if fragment.offset == 0 {
            self.next.get_or_insert(fragment.next);
        }
        self.insert(fragment, most_parts)
    }

    /// Whether it has waited too long; a time to come is as wrong.
    fn is_older(&self, now: u64, limits: &Limits) -> bool {
        let age = match self.is_v6 {
            true => limits.ipv6_age_ns,
            false => limits.ipv4_age_ns,
        };
        now.abs_diff(self.begun_ns) > age
    }

    fn insert(&mut self, fragment: &Fragment<'_>, most_parts: usize) -> Result<(), Cause> {
        let (start, end) = (fragment.offset, fragment.offset + fragment.bytes.len());
        let at = self.parts.partition_point(|part| part.start <= start);
        let is_known = |part: &&Part| part.start == start && *part.bytes == *fragment.bytes;
        if start == end || self.parts[..at].iter().rev().take(1).any(|p| is_known(&p)) {
            return Ok(());
        }
        let before = at.checked_sub(1).map(|before| &self.parts[before]);
        let overlaps = before.is_some_and(|part| part.end() > start)
            || self.parts.get(at).is_some_and(|part| part.start < end);
        if overlaps && self.is_v6 {
            return Err(Cause::Overlap);
        }
        if self.parts.len() >= most_parts {
            return Err(Cause::Parts);
        }
        self.len += fragment.bytes.len();
        let part = Part {
            start,
            frame: fragment.frame,
            bytes: fragment.bytes.into(),
        };
        self.parts.insert(at, part);
        Ok(())
    }

    /// The bytes, if none is missing: of those that several parts have, the part
    /// that begins first wins, of equal ones the earlier.
    fn whole(&self) -> Option<Whole> {
        let total = self.total.filter(|total| self.len >= *total)?;
        let next = self.next?;
        let mut reached = 0;
        for part in &self.parts {
            if part.start > reached {
                return None;
            }
            reached = reached.max(part.end());
        }
        if reached < total {
            return None;
        }
        let mut bytes = Vec::with_capacity(total);
        for part in &self.parts {
            let known = bytes.len() - part.start;
            bytes.extend_from_slice(part.bytes.get(known..).unwrap_or(&[]));
        }
        Some(Whole {
            bytes,
            frames: self.parts.iter().map(|part| part.frame).collect(),
            next,
        })
    }
}

/// The datagrams under way.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    under_way: HashMap<Key, Datagram>,
    /// From the oldest on.
    order: BTreeMap<u64, Key>,
    serial: u64,
    cost: usize,
    pub(super) totals: Totals,
}

impl Datagrams {
    /// Takes a fragment in; the datagram, where that completes it.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, limits: &Limits) -> Option<Whole> {
        self.expire(fragment.time_ns, limits);
        let is_too_old = |begun: &Datagram| begun.is_older(fragment.time_ns, limits);
        if self.under_way.get(&fragment.key).is_some_and(is_too_old) {
            self.give_up(&fragment.key.clone(), Cause::Age);
        }
        let serial = self.serial;
        let datagram = self
            .under_way
            .entry(fragment.key.clone())
            .or_insert_with(|| Datagram {
                serial,
                begun_ns: fragment.time_ns,
                is_v6: fragment.key.source.is_ipv6(),
                parts: Vec::new(),
                len: 0,
                total: None,
                next: None,
                is_refused: false,
            });
        if datagram.is_refused {
            return None;
        }
        let is_new = datagram.serial == serial;
        let before = if is_new { 0 } else { datagram.cost() };
        let added = datagram.add(fragment, limits.parts);
        if let Err(cause) = added {
            self.totals.give_up(cause);
            datagram.is_refused = true;
            datagram.parts = Vec::new();
            datagram.len = 0;
        }
        let whole = datagram.whole();
        self.cost = self.cost + datagram.cost() - before;
        if is_new {
            self.order.insert(serial, fragment.key.clone());
            self.serial += 1;
        }
        if whole.is_some() {
            self.totals.whole += 1;
            self.remove(&fragment.key);
            return whole;
        }
        while self.under_way.len() > limits.datagrams {
            self.give_up_oldest(Cause::Number);
        }
        while self.cost > limits.bytes {
            self.give_up_oldest(Cause::Memory);
        }
        None
    }

    /// Gives up what began too long before `now`.
    fn expire(&mut self, now: u64, limits: &Limits) {
        while let Some((_, key)) = self.order.first_key_value() {
            let Some(oldest) = self.under_way.get(key) else {
                return;
            };
            if !oldest.is_older(now, limits) {
                return;
            }
            self.give_up_oldest(Cause::Age);
        }
    }

    fn give_up_oldest(&mut self, cause: Cause) {
        let Some((_, key)) = self.order.first_key_value() else {
            return;
        };
        let key = key.clone();
        self.give_up(&key, cause);
    }

    fn give_up(&mut self, key: &Key, cause: Cause) {
        if let Some(datagram) = self.remove(key)
            && !datagram.is_refused
        {
            self.totals.give_up(cause);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.under_way.remove(key)?;
        self.order.remove(&datagram.serial);
        self.cost -= datagram.cost();
        Some(datagram)
    }

    /// Datagrams that still wait.
    pub(super) fn waiting(&self) -> u64 {
        let waiting = self.under_way.values();
        waiting.filter(|datagram| !datagram.is_refused).count() as u64
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }
}

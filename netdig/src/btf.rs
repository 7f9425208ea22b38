//! Where the running kernel keeps what: offsets of structure members, read
//! from BTF.
//!
//! The probe is one object for every kernel, so the loader looks up each
//! offset here and hands it over as a global. aya reads BTF too, but keeps the
//! offsets of members to itself, and relocations that it could apply are not
//! emitted by rustc; hence this small reader of exactly what is needed.
//!
//! The format is described in the kernel's `Documentation/bpf/btf.rst` and
//! `include/uapi/linux/btf.h`.

use std::io;
use std::path::{Path, PathBuf};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

const KIND_INT: u8 = 1;
const KIND_PTR: u8 = 2;
const KIND_ARRAY: u8 = 3;
const KIND_STRUCT: u8 = 4;
const KIND_UNION: u8 = 5;
const KIND_ENUM: u8 = 6;
const KIND_FWD: u8 = 7;
const KIND_TYPEDEF: u8 = 8;
const KIND_VOLATILE: u8 = 9;
const KIND_CONST: u8 = 10;
const KIND_RESTRICT: u8 = 11;
const KIND_FUNC: u8 = 12;
const KIND_FUNC_PROTO: u8 = 13;
const KIND_VAR: u8 = 14;
const KIND_DATASEC: u8 = 15;
const KIND_FLOAT: u8 = 16;
const KIND_DECL_TAG: u8 = 17;
const KIND_TYPE_TAG: u8 = 18;
const KIND_ENUM64: u8 = 19;

/// Modifiers and typedefs in a row; the kernel's own limit is 32.
const MAX_CHAIN: u32 = 32;
/// Members looked at in one look-up. The largest structure of a kernel has
/// some hundreds; only a corrupt, self-containing type gets here.
const MAX_MEMBERS: u32 = 1 << 18;

/// Why an offset could not be told.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error(
        "this kernel does not describe its structures: {path} does not exist. \
         It was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted; \
         use a kernel with BTF (`grep DEBUG_INFO_BTF /boot/config-$(uname -r)` should say y)"
    )]
    Missing { path: PathBuf },
    #[error(
        "there is no BTF for the kernel module {module}: {path} does not exist. \
         Load the module (`modprobe {module}`); if it is loaded, \
         the kernel was built without CONFIG_DEBUG_INFO_BTF_MODULES"
    )]
    MissingModule { module: String, path: PathBuf },
    #[error("reading the kernel's type information from {path} failed: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the type information is of a machine with the other byte order")]
    OtherByteOrder,
    #[error("the type information is not valid BTF: {what} at byte {at}")]
    Malformed { what: &'static str, at: usize },
    #[error("this kernel has no structure named `{name}` in its type information")]
    NoType { name: String },
    #[error("this kernel's `{structure}` has no member `{member}` (looked for `{path}`)")]
    NoMember {
        structure: String,
        member: String,
        path: String,
    },
    #[error(
        "`{member}` of `{structure}` is no structure or union, so `{path}` cannot be followed into it"
    )]
    NotAStructure {
        structure: String,
        member: String,
        path: String,
    },
    #[error(
        "this kernel has several structures named `{name}` that place `{path}` differently; \
         which one is meant cannot be told"
    )]
    Ambiguous { name: String, path: String },
    #[error("this kernel has no enumerator named `{name}` in its type information")]
    NoEnumerator { name: String },
}

/// Where a member lies in its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// First byte that holds some of it, from the start of the structure.
    pub byte_offset: u32,
    /// First bit, from the start of that byte; 0 unless it is a bit field.
    pub bit_offset: u32,
    /// Width of a bit field in bits; 0 when it is none.
    pub bit_size: u32,
    /// Bytes to read at `byte_offset` to have all of it; 0 for a flexible array.
    pub size: u32,
}

/// The kernel's type information, of vmlinux alone or with one module's on top.
#[derive(Debug)]
pub struct Btf {
    /// Sections of vmlinux, and then of the module that builds on it.
    parts: Vec<Part>,
    /// Named structures and unions, and typedefs: hash of the name and type
    /// id, sorted. Sixty look-ups by scanning all types would take half a second.
    names: Vec<(u32, u32)>,
}

/// One BTF blob: vmlinux, or a module (split BTF: its ids and string offsets
/// continue those of vmlinux).
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    /// Where each type's record begins in `bytes`.
    types: Vec<u32>,
    first_id: u32,
    strings: std::ops::Range<usize>,
    first_string: u32,
}

/// The fixed head of a type's record.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u8,
    kind_flag: bool,
    size_or_type: u32,
    /// What follows the head; as long as the kind and count demand.
    tail: &'a [u8],
}

/// A member of a structure, positioned from the outermost structure.
#[derive(Clone, Copy)]
struct Member {
    type_id: u32,
    bits: u32,
    bit_size: u32,
}

impl Btf {
    /// Reads the running kernel's description, `/sys/kernel/btf/vmlinux`.
    pub fn load() -> Result<Btf, BtfError> {
        Btf::load_file(Path::new("/sys/kernel/btf/vmlinux"))
    }

    /// Reads another file with a whole kernel's BTF.
    pub fn load_file(path: &Path) -> Result<Btf, BtfError> {
        let bytes = std::fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BtfError::Missing {
                path: path.to_owned(),
            },
            _ => BtfError::Read {
                path: path.to_owned(),
                source,
            },
        })?;
        Btf::parse(bytes)
    }

    /// Takes the raw bytes of a kernel's BTF. Never panics, whatever they are.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Btf, BtfError> {
        let part = Part::parse(bytes.into(), 1, 0)?;
        Ok(Btf {
            parts: Vec::new(),
            names: Vec::new(),
        }
        .with_part(part))
    }

    /// Adds what a loaded module brings, from `/sys/kernel/btf/MODULE`. A
    /// driver that is built in has no such file: its types are in vmlinux's.
    /// Modules build on vmlinux and not on each other, so this one replaces a
    /// module given before.
    pub fn with_module(self, module: &str) -> Result<Btf, BtfError> {
        let path = Path::new("/sys/kernel/btf").join(module);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BtfError::MissingModule {
                module: module.to_owned(),
                path: path.clone(),
            },
            _ => BtfError::Read {
                path: path.clone(),
                source,
            },
        })?;
        self.with_module_bytes(bytes)
    }

    /// Adds a module's split BTF, given as bytes.
    pub fn with_module_bytes(self, bytes: impl Into<Vec<u8>>) -> Result<Btf, BtfError> {
        let mut parts = self.parts;
        parts.truncate(1);
        let base = &parts[0];
        let first_id = base.first_id + base.types.len() as u32;
        let first_string = base.strings.len() as u32;
        let part = Part::parse(bytes.into(), first_id, first_string)?;
        Ok(Btf {
            parts,
            names: self.names,
        }
        .with_part(part))
    }

    /// Whether the kernel has a structure or union of this name.
    pub fn has(&self, name: &str) -> bool {
        self.structures(name).next().is_some()
    }

    /// Position of a member: `offset("sock", "__sk_common.skc_dport")`.
    /// Members of anonymous structures and unions are found as in C, and
    /// typedefs and qualifiers are looked through. Pointers are not followed.
    pub fn offset(&self, structure: &str, path: &str) -> Result<Field, BtfError> {
        let mut found: Option<Field> = None;
        let mut failure = BtfError::NoType {
            name: structure.to_owned(),
        };
        for id in self.structures(structure) {
            match self.resolve(id, structure, path) {
                Ok(field) if found.is_some_and(|other| other != field) => {
                    return Err(BtfError::Ambiguous {
                        name: structure.to_owned(),
                        path: path.to_owned(),
                    });
                }
                Ok(field) => found = Some(field),
                Err(error) => failure = error,
            }
        }
        found.ok_or(failure)
    }

    /// Size of a structure or union in bytes.
    pub fn size_of(&self, structure: &str) -> Result<u32, BtfError> {
        let mut sizes = self
            .structures(structure)
            .filter_map(|id| self.type_at(id))
            .map(|record| record.size_or_type);
        let first = sizes.next().ok_or_else(|| BtfError::NoType {
            name: structure.to_owned(),
        })?;
        if sizes.any(|size| size != first) {
            return Err(BtfError::Ambiguous {
                name: structure.to_owned(),
                path: "sizeof".into(),
            });
        }
        Ok(first)
    }

    /// Value of an enumerator, such as `PIDTYPE_TGID`. Scans all types (a few
    /// milliseconds): enumerators are not indexed, few are ever asked for.
    pub fn enum_value(&self, name: &str) -> Result<i64, BtfError> {
        for part in &self.parts {
            for index in 0..part.types.len() {
                let Some(record) = part.type_at(index) else {
                    continue;
                };
                if let Some(value) = self.enumerator(&record, name) {
                    return Ok(value);
                }
            }
        }
        Err(BtfError::NoEnumerator {
            name: name.to_owned(),
        })
    }

    fn enumerator(&self, record: &Type<'_>, name: &str) -> Option<i64> {
        let stride = match record.kind {
            KIND_ENUM => 8,
            KIND_ENUM64 => 12,
            _ => return None,
        };
        let entry = record
            .tail
            .chunks_exact(stride)
            .find(|entry| self.string(word(entry, 0)) == Some(name.as_bytes()))?;
        let low = word(entry, 4);
        Some(match (record.kind, record.kind_flag) {
            (KIND_ENUM, true) => i64::from(low as i32),
            (KIND_ENUM, false) => i64::from(low),
            _ => (u64::from(low) | u64::from(word(entry, 8)) << 32) as i64,
        })
    }

    fn with_part(mut self, part: Part) -> Btf {
        self.parts.push(part);
        self.reindexed()
    }

    fn reindexed(mut self) -> Btf {
        let mut names = Vec::with_capacity(1 << 14);
        for part in &self.parts {
            for index in 0..part.types.len() {
                let Some(record) = part.type_at(index) else {
                    continue;
                };
                let named = record.name != 0
                    && matches!(record.kind, KIND_STRUCT | KIND_UNION | KIND_TYPEDEF);
                if let (true, Some(name)) = (named, self.string(record.name)) {
                    names.push((hash(name), part.first_id + index as u32));
                }
            }
        }
        names.sort_unstable();
        self.names = names;
        self
    }

    /// Ids of all structures and unions of this name, also by a typedef of an
    /// anonymous one.
    fn structures<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let wanted = hash(name.as_bytes());
        let start = self.names.partition_point(|&(hash, _)| hash < wanted);
        self.names[start..]
            .iter()
            .take_while(move |&&(hash, _)| hash == wanted)
            .filter(move |&&(_, id)| {
                self.type_at(id).and_then(|record| self.string(record.name))
                    == Some(name.as_bytes())
            })
            .filter_map(|&(_, id)| self.structure_behind(id))
    }

    /// Follows typedefs and qualifiers until a structure or union.
    fn structure_behind(&self, id: u32) -> Option<u32> {
        let id = self.plain(id)?;
        matches!(self.type_at(id)?.kind, KIND_STRUCT | KIND_UNION).then_some(id)
    }

    /// Follows typedefs, qualifiers and tags.
    fn plain(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_CHAIN {
            let record = self.type_at(id)?;
            match record.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = record.size_or_type;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn resolve(&self, id: u32, structure: &str, path: &str) -> Result<Field, BtfError> {
        let mut holder = structure;
        let mut at = Member {
            type_id: id,
            bits: 0,
            bit_size: 0,
        };
        for name in path.split('.') {
            let inner =
                self.structure_behind(at.type_id)
                    .ok_or_else(|| BtfError::NotAStructure {
                        structure: structure.to_owned(),
                        member: holder.to_owned(),
                        path: path.to_owned(),
                    })?;
            let mut budget = MAX_MEMBERS;
            at = self
                .member(inner, name.as_bytes(), at.bits, 0, &mut budget)
                .ok_or_else(|| BtfError::NoMember {
                    structure: holder.to_owned(),
                    member: name.to_owned(),
                    path: path.to_owned(),
                })?;
            holder = name;
        }
        Ok(self.field(at))
    }

    /// Finds a member by name, descending into anonymous members. `base` is
    /// the position of the structure in bits.
    fn member(
        &self,
        id: u32,
        name: &[u8],
        base: u32,
        depth: u32,
        budget: &mut u32,
    ) -> Option<Member> {
        let record = self.type_at(id)?;
        if depth > MAX_CHAIN {
            return None;
        }
        for entry in record.tail.chunks_exact(12) {
            *budget = budget.checked_sub(1)?;
            let (type_id, position) = (word(entry, 4), word(entry, 8));
            let (offset, bit_size) = match record.kind_flag {
                true => (position & 0x00ff_ffff, position >> 24),
                false => (position, 0),
            };
            let bits = base.checked_add(offset)?;
            let member_name = word(entry, 0);
            if member_name != 0 {
                if self.string(member_name) == Some(name) {
                    return Some(Member {
                        type_id,
                        bits,
                        bit_size,
                    });
                }
                continue;
            }
            // An unnamed bit field is padding; only structures have members.
            if let Some(inner) = self.structure_behind(type_id)
                && let Some(found) = self.member(inner, name, bits, depth + 1, budget)
            {
                return Some(found);
            }
        }
        None
    }

    fn field(&self, member: Member) -> Field {
        let bit_size = match member.bit_size {
            0 => self.old_style_bits(member.type_id),
            bits => bits,
        };
        let bit_offset = member.bits % 8;
        let size = match bit_size {
            0 => self.size_of_id(member.type_id, 0).unwrap_or(0),
            bits => (bit_offset + bits).div_ceil(8),
        };
        Field {
            byte_offset: member.bits / 8,
            bit_offset,
            bit_size,
            size,
        }
    }

    /// Without kind_flag, a bit field's width is that of its integer type.
    fn old_style_bits(&self, id: u32) -> u32 {
        let Some(record) = self.plain(id).and_then(|id| self.type_at(id)) else {
            return 0;
        };
        if record.kind != KIND_INT || record.tail.len() < 4 {
            return 0;
        }
        let bits = word(record.tail, 0) & 0xff;
        if u64::from(bits) == u64::from(record.size_or_type) * 8 {
            0
        } else {
            bits
        }
    }

    /// Size in bytes of any type.
    fn size_of_id(&self, id: u32, depth: u32) -> Option<u32> {
        if depth > MAX_CHAIN {
            return None;
        }
        let record = self.type_at(self.plain(id)?)?;
        match record.kind {
            KIND_PTR => Some(size_of::<usize>() as u32),
            KIND_ARRAY => self
                .size_of_id(word(record.tail, 0), depth + 1)?
                .checked_mul(word(record.tail, 8)),
            KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 | KIND_FLOAT => {
                Some(record.size_or_type)
            }
            _ => None,
        }
    }

    fn type_at(&self, id: u32) -> Option<Type<'_>> {
        let part = self.parts.iter().rev().find(|part| id >= part.first_id)?;
        part.type_at((id - part.first_id) as usize)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let part = self
            .parts
            .iter()
            .rev()
            .find(|part| offset >= part.first_string)?;
        let strings = &part.bytes[part.strings.clone()];
        let rest = strings.get((offset - part.first_string) as usize..)?;
        Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
    }
}

impl Part {
    fn parse(bytes: Vec<u8>, first_id: u32, first_string: u32) -> Result<Part, BtfError> {
        let malformed = |what, at| BtfError::Malformed { what, at };
        if bytes.len() < HEADER_LEN {
            return Err(malformed("it ends in the header", bytes.len()));
        }
        match u16::from_ne_bytes([bytes[0], bytes[1]]) {
            MAGIC => {}
            other if other == MAGIC.swap_bytes() => return Err(BtfError::OtherByteOrder),
            _ => return Err(malformed("no BTF magic number", 0)),
        }
        let section = |offset: u32, len: u32, what| {
            let start = (word(&bytes, 4) as usize).checked_add(offset as usize);
            start
                .and_then(|start| Some(start..start.checked_add(len as usize)?))
                .filter(|range| range.end <= bytes.len() && range.start >= HEADER_LEN)
                .ok_or(malformed(what, HEADER_LEN))
        };
        let all = section(
            word(&bytes, 8),
            word(&bytes, 12),
            "the types lie outside of it",
        )?;
        let strings = section(
            word(&bytes, 16),
            word(&bytes, 20),
            "the strings lie outside of it",
        )?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(malformed("larger than 4 GiB", bytes.len()));
        }
        let mut types = Vec::with_capacity(all.len() / 20);
        let mut at = all.start;
        while at < all.end {
            let len = record_len(&bytes[at..all.end])
                .ok_or(malformed("a type is unknown or cut off", at))?;
            types.push(at as u32);
            at += len;
        }
        Ok(Part {
            bytes,
            types,
            first_id,
            strings,
            first_string,
        })
    }

    fn type_at(&self, index: usize) -> Option<Type<'_>> {
        let bytes = &self.bytes[*self.types.get(index)? as usize..];
        let info = word(bytes, 4);
        let (kind, count) = ((info >> 24 & 0x1f) as u8, info & 0xffff);
        Some(Type {
            name: word(bytes, 0),
            kind,
            kind_flag: info >> 31 != 0,
            size_or_type: word(bytes, 8),
            tail: &bytes[12..12 + tail_len(kind, count)?],
        })
    }
}

/// Length of the type record that `bytes` begins with; `None` where it is cut
/// off or of a kind that this reader does not know and so cannot step over.
fn record_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 12 {
        return None;
    }
    let info = word(bytes, 4);
    let len = 12 + tail_len((info >> 24 & 0x1f) as u8, info & 0xffff)?;
    (len <= bytes.len()).then_some(len)
}

/// Bytes after the fixed head of a record.
fn tail_len(kind: u8, count: u32) -> Option<usize> {
    let count = count as usize;
    Some(match kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => count * 12,
        KIND_ENUM | KIND_FUNC_PROTO => count * 8,
        KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT
        | KIND_FUNC | KIND_FLOAT | KIND_TYPE_TAG => 0,
        _ => return None,
    })
}

/// The native 32-bit word at `at`, which the caller knows to be there.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// FNV-1a.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;

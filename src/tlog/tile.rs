//! The log as static files: paths, hash tiles and entry bundles (C2SP tlog-tiles, commit 5ba5ee8).
//!
//! Guarantees: a [`Tile`] or an [`EntryBundle`] is one that a log below 2^63 entries can have, and its path has
//! one spelling. Never does: I/O, nor vouch for a tile. What [`TileReader::node`] returns was read or hashed
//! from what was read, and is only as good as that: every use is to end in an inclusion or consistency check
//! against a signed root. (`tlog_tiles` 0.2.0 and Go's sumdb/tlog before x/mod v0.40.0 try to check tiles
//! against each other instead, and leave some out.)
//!
//! Start at [`Tile::grown`] to write, at [`TileReader`] to read.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{MAX_SIZE, Node, TlogError, decimal, node_hash};
use crate::digest::{Digest, shorten};

/// "Full tiles MUST be exactly 256 hashes wide."
const WIDTH: u64 = 256;
/// Tree levels in one tile.
const HEIGHT: u8 = 8;
/// The highest level with a tile, in a log below 2^63 entries (the specification: 63).
const TOP: u8 = 7;
/// Bytes of a hash.
const HASH: usize = 32;

/// Place of a tile within its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place {
    /// From the left, from 0.
    index: u64,
    /// 1 to 256; below 256 the tile is a partial one.
    width: u16,
}

impl Place {
    /// Which of all `count` hashes of a level are in its tile `index`.
    fn of(index: u64, count: u64) -> Option<Self> {
        let width = count.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        Some(Self { index, width: u16::try_from(width).ok().filter(|width| *width > 0)? })
    }

    /// Among all hashes of the level.
    fn range(self) -> Range<u64> {
        let first = self.index * WIDTH;
        first..first + u64::from(self.width)
    }

    /// "zero-padded 3-digit path elements. All but the last path element MUST begin with an `x`."
    fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.index.to_string();
        let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        for at in (0..padded.len()).step_by(3) {
            let begin = if at + 3 < padded.len() { "/x" } else { "/" };
            write!(f, "{begin}{}", &padded[at..at + 3])?;
        }
        match u64::from(self.width) == WIDTH {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }

    /// Reads loosely: the caller compares with what [`Place::write`] makes of it.
    fn read(text: &str) -> Option<Self> {
        let (index, width) = match text.split_once(".p/") {
            Some((index, width)) => (index, decimal(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (text, WIDTH),
        };
        let digits: String = index.chars().filter(|c| !matches!(c, 'x' | '/')).collect();
        Some(Self { index: digits.parse().ok()?, width: width.try_into().ok()? })
    }
}

/// A tile of hashes: `tile/<L>/<N>[.p/<W>]`, which is how it is displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    place: Place,
}

impl Tile {
    /// Tile `index` of a level, in a log of `size` entries; `None` if it is empty there. "The partial tile at
    /// level *l* for a tree of size *s* has `floor(s / 256**l) mod 256` entries."
    pub fn of(level: u8, index: u64, size: u64) -> Option<Self> {
        if level > TOP || size > MAX_SIZE {
            return None;
        }
        Place::of(index, size >> (HEIGHT * level)).map(|place| Self { level, place })
    }

    /// The tiles of a log of `new` entries that are not those of its first `old` ones, lower levels first. A
    /// partial tile that grew is another one.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        (0..=TOP).flat_map(move |level| {
            let (before, after) = (old >> (HEIGHT * level), new >> (HEIGHT * level));
            let end = if before < after && new <= MAX_SIZE { after.div_ceil(WIDTH) } else { 0 };
            (before / WIDTH..end).filter_map(move |index| Self::of(level, index, new))
        })
    }

    /// The tile with what is needed for `node` in a log of `size` entries; `None` if the log has no such node.
    pub fn holding(node: Node, size: u64) -> Option<Self> {
        if size > MAX_SIZE || node.level > 62 || node.index >= size >> node.level {
            return None;
        }
        let (level, row) = (node.level / HEIGHT, node.level % HEIGHT);
        Self::of(level, (node.index << row) / WIDTH, size)
    }

    /// The level; at level 0 the hashes are those of leaves.
    pub fn level(self) -> u8 {
        self.level
    }

    /// How many hashes it has: 1 to 256.
    pub fn width(self) -> u16 {
        self.place.width
    }

    /// The nodes whose hashes it has, left to right.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        self.place.range().map(move |index| Node { level: self.level * HEIGHT, index })
    }

    /// Its bytes, from stored nodes.
    ///
    /// # Errors
    /// What `read` returned.
    pub fn encode<E>(self, mut read: impl FnMut(Node) -> Result<Digest, E>) -> Result<Vec<u8>, E> {
        let mut bytes = Vec::with_capacity(usize::from(self.place.width) * HASH);
        for node in self.nodes() {
            bytes.extend_from_slice(read(node)?.as_bytes());
        }
        Ok(bytes)
    }

    /// Its hashes, from its bytes.
    ///
    /// # Errors
    /// [`TlogError::TileLength`].
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<Digest>, TlogError> {
        let (hashes, rest) = bytes.as_chunks::<HASH>();
        if !rest.is_empty() || hashes.len() != usize::from(self.place.width) {
            let expected = usize::from(self.place.width) * HASH;
            return Err(TlogError::TileLength { tile: self, found: bytes.len(), expected });
        }
        Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}", self.level)?;
        self.place.write(f)
    }
}

/// Up to 256 consecutive entries: `tile/entries/<N>[.p/<W>]`, which is how it is displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryBundle(Place);

impl EntryBundle {
    /// Bundle `index` of a log of `size` entries; `None` if it is empty there.
    pub fn of(index: u64, size: u64) -> Option<Self> {
        Tile::of(0, index, size).map(|tile| Self(tile.place))
    }

    /// The bundles of a log of `new` entries that are not those of its first `old` ones.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        Tile::grown(old, new).take_while(|tile| tile.level == 0).map(|tile| Self(tile.place))
    }

    /// The indexes of its entries.
    pub fn range(self) -> Range<u64> {
        self.0.range()
    }

    /// Its bytes: "sequences of big-endian uint16 length-prefixed log entries".
    ///
    /// # Errors
    /// [`TlogError::EntryTooLong`]; [`TlogError::BundleCount`].
    pub fn encode(self, entries: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, TlogError> {
        self.has(entries.len())?;
        let mut bytes = Vec::new();
        for (index, entry) in self.range().zip(entries) {
            let entry = entry.as_ref();
            let too_long = TlogError::EntryTooLong { index, found: entry.len() };
            let length = u16::try_from(entry.len()).map_err(|_| too_long)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        Ok(bytes)
    }

    /// Its entries, from its bytes: all of them, and nothing behind them.
    ///
    /// # Errors
    /// [`TlogError::BundleEnd`], [`TlogError::BundleCount`].
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<&[u8]>, TlogError> {
        let (mut entries, mut rest) = (Vec::with_capacity(usize::from(self.0.width)), bytes);
        while !rest.is_empty() {
            let ends = TlogError::BundleEnd { bundle: self, found: bytes.len() };
            let (length, behind) = rest.split_first_chunk::<2>().ok_or_else(|| ends.clone())?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, behind) = behind.split_at_checked(length).ok_or(ends)?;
            entries.push(entry);
            rest = behind;
        }
        self.has(entries.len())?;
        Ok(entries)
    }

    fn has(self, found: usize) -> Result<(), TlogError> {
        match found == usize::from(self.0.width) {
            true => Ok(()),
            false => Err(TlogError::BundleCount { bundle: self, found, expected: self.0.width }),
        }
    }
}

impl fmt::Display for EntryBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries")?;
        self.0.write(f)
    }
}

/// The path of a file of a tiled log, but its checkpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// `tile/<L>/<N>[.p/<W>]`.
    Hashes(Tile),
    /// `tile/entries/<N>[.p/<W>]`.
    Entries(EntryBundle),
}

impl TilePath {
    fn read(text: &str) -> Option<Self> {
        let (level, place) = text.strip_prefix("tile/")?.split_once('/')?;
        let place = Place::read(place)?;
        let (level, is_entries) = match level {
            "entries" => (0, true),
            level => (decimal(level).filter(|level| *level <= TOP.into())?.try_into().ok()?, false),
        };
        // All its entries are those of a log that there can be.
        let end = u128::from(place.index) * u128::from(WIDTH) + u128::from(place.width);
        if end << (HEIGHT * level) > u128::from(MAX_SIZE) {
            return None;
        }
        Some(if is_entries { Self::Entries(EntryBundle(place)) } else { Self::Hashes(Tile { level, place }) })
    }
}

impl FromStr for TilePath {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        let path = Self::read(text).filter(|path| path.to_string() == text);
        path.ok_or_else(|| TlogError::TilePath { found: shorten(text) })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(tile) => fmt::Display::fmt(tile, f),
            Self::Entries(bundle) => fmt::Display::fmt(bundle, f),
        }
    }
}

/// Reads nodes of a log of a given size from its tiles; each tile is read once and kept, so make one reader for
/// a proof, not for a log.
///
/// What it returns is believed by nobody: see the module.
#[derive(Debug)]
pub struct TileReader<F> {
    size: u64,
    read: F,
    tiles: BTreeMap<Tile, Vec<Digest>>,
}

impl<F> TileReader<F> {
    /// Of a log of `size` entries, whose tiles `read` returns as bytes.
    pub fn new(size: u64, read: F) -> Self {
        Self { size, read, tiles: BTreeMap::new() }
    }

    /// The hash of a node, for [`super::inclusion_proof`], [`super::consistency_proof`] and
    /// [`super::Frontier::load`].
    ///
    /// # Errors
    /// What `read` returned; [`TlogError::NoNode`], [`TlogError::TileLength`].
    pub fn node<E: From<TlogError>>(&mut self, node: Node) -> Result<Digest, E>
    where
        F: FnMut(Tile) -> Result<Vec<u8>, E>,
    {
        let missing = || TlogError::NoNode { node, size: self.size };
        let tile = Tile::holding(node, self.size).ok_or_else(missing)?;
        let hashes = match self.tiles.remove(&tile) {
            Some(hashes) => hashes,
            None => tile.decode(&(self.read)(tile)?)?,
        };
        let row = node.level % HEIGHT;
        let first = (node.index << row) % WIDTH;
        let below = hashes.iter().skip(first as usize).take(1 << row).copied().collect();
        self.tiles.insert(tile, hashes);
        Ok(root(below).ok_or_else(missing)?)
    }
}

/// Of a complete subtree over a power of two of hashes; `None` over none.
fn root(mut hashes: Vec<Digest>) -> Option<Digest> {
    while hashes.len() > 1 {
        hashes = hashes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    hashes.pop()
}

#[cfg(test)]
mod tests;

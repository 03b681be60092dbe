//! Tiles: the examples of the specification, what is refused, and forgeries.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::tlog::{
    Frontier, LogSigner, SignedCheckpoint, check_consistency, consistency_proof, inclusion_proof, leaf_hash,
};
use proptest::prelude::*;

fn path(text: &str) -> TilePath {
    text.parse().unwrap()
}

fn tile(text: &str) -> Tile {
    match path(text) {
        TilePath::Hashes(tile) => tile,
        TilePath::Entries(_) => panic!("{text} is a bundle"),
    }
}

#[test]
fn the_paths_of_the_specification_are_read_and_written() {
    for (text, level, index, width) in [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/x001/x234/067", 0, 1234067, 256),
        ("tile/0/x001/x234/067.p/1", 0, 1234067, 1),
        ("tile/1/999.p/255", 1, 999, 255),
        ("tile/2/x001/000", 2, 1000, 256),
        ("tile/7/000.p/127", 7, 0, 127),
    ] {
        let read = Tile { level, place: Place { index, width } };
        assert_eq!(path(text), TilePath::Hashes(read));
        assert_eq!(read.to_string(), text);
    }
    let bundle = EntryBundle(Place { index: 1234067, width: 8 });
    assert_eq!(path("tile/entries/x001/x234/067.p/8"), TilePath::Entries(bundle));
    assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/8");
}

#[test]
fn b9_a_path_has_one_spelling() {
    for wrong in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/x001/x234",
        "tile/0/001/234",
        "tile/0/x1/234",
        "tile/0/X001/234",
        "tile/0/001/x234",
        "tile/0/x001//234",
        "tile/0//000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/+1",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p/1/",
        "tile/00/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/8/000.p/1",
        "tile/63/000",
        "tile/64/000",
        "tile/7/000",
        "tile/7/000.p/128",
        "tile/7/001.p/1",
        "tile/data/000",
        "tile/Entries/000",
        "tile/entries/",
        "tile/8/0/000",
        "tile/0/x036/x028/x797/x018/x963/967",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        " tile/0/000",
    ] {
        let refused = wrong.parse::<TilePath>();
        assert!(matches!(refused, Err(TlogError::TilePath { .. })), "{wrong:?}: {refused:?}");
    }
    // The last tile of the largest log: one hash short of full.
    let last = "tile/0/x036/x028/x797/x018/x963/967.p/255";
    assert_eq!(path(last).to_string(), last);
}

#[test]
fn a_log_of_70_000_has_the_tiles_that_the_specification_counts() {
    let all: Vec<_> = Tile::grown(0, 70_000).collect();
    let of = |level| all.iter().filter(move |tile| tile.level == level);
    let partial = |level| of(level).filter(|tile| tile.width() < 256).map(|tile| tile.width());
    assert_eq!((of(0).count(), of(1).count(), of(2).count(), of(3).count()), (274, 2, 1, 0));
    assert_eq!(partial(0).chain(partial(1)).chain(partial(2)).collect::<Vec<_>>(), [112, 17, 1]);
    // "a tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile of width 1".
    let all: Vec<_> = Tile::grown(0, 256).map(|tile| tile.to_string()).collect();
    assert_eq!(all, ["tile/0/000", "tile/1/000.p/1"]);
    let bundles: Vec<_> = EntryBundle::grown(255, 257).map(|bundle| bundle.to_string()).collect();
    assert_eq!(bundles, ["tile/entries/000", "tile/entries/001.p/1"]);
}

/// As the specification defines them: tile by tile, of a size.
fn by_definition(size: u64) -> BTreeSet<Tile> {
    let levels = (0..=TOP).flat_map(|level| {
        let hashes = size / 256_u64.pow(level.into());
        (0..hashes.div_ceil(256)).map(move |index| {
            let width = (hashes - index * 256).min(256) as u16;
            Tile { level, place: Place { index, width } }
        })
    });
    levels.collect()
}

#[test]
fn what_a_grown_log_writes_is_what_it_had_not() {
    let sizes = [0, 1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000, 132_869];
    for old in sizes {
        for new in sizes {
            let expected: BTreeSet<_> = match old <= new {
                true => by_definition(new).difference(&by_definition(old)).copied().collect(),
                false => BTreeSet::new(),
            };
            let grown: Vec<_> = Tile::grown(old, new).collect();
            assert_eq!(grown.iter().copied().collect::<BTreeSet<_>>(), expected, "{old} to {new}");
            assert_eq!(grown.len(), expected.len(), "{old} to {new}");
            let bundles = EntryBundle::grown(old, new).map(|bundle| bundle.0);
            let tiles = grown.iter().filter(|tile| tile.level == 0).map(|tile| tile.place);
            assert!(bundles.eq(tiles), "{old} to {new}");
        }
    }
    assert_eq!(Tile::grown(MAX_SIZE - 1, MAX_SIZE).count(), 1);
    assert_eq!(Tile::grown(0, MAX_SIZE + 1).count(), 0);
}

#[test]
fn b9_bundles_are_read_as_they_were_written_or_not() {
    let bundle = EntryBundle::of(3, 3 * 256 + 4).unwrap();
    let entries = [&b"one"[..], b"", b"three", &[7; 65_535]];
    let bytes = bundle.encode(&entries).unwrap();
    assert_eq!(bytes[..9], *b"\0\x03one\0\0\0\x05");
    assert_eq!(bundle.decode(&bytes).unwrap(), entries);
    let count = |found| Err(TlogError::BundleCount { bundle, found, expected: 4 });
    assert_eq!(bundle.encode(&entries[..3]), count(3));
    assert_eq!(bundle.decode(&[]).map(|_| ()), count(0).map(|_: Vec<u8>| ()));
    assert!(matches!(bundle.decode(&[&bytes[..], b"\0\0"].concat()), Err(TlogError::BundleCount { .. })));
    for cut in [1, 3, 4, 6, 8, bytes.len() - 1] {
        let refused = bundle.decode(&bytes[..cut]);
        assert!(matches!(refused, Err(TlogError::BundleEnd { .. })), "{cut}");
    }
    let long = [&b""[..], b"", b"", &[7; 65_536]];
    assert_eq!(bundle.encode(&long), Err(TlogError::EntryTooLong { index: 771, found: 65_536 }));
    assert_eq!(EntryBundle::of(4, 3 * 256 + 4), None);
    assert_eq!(EntryBundle::of(u64::MAX, MAX_SIZE), None);
}

#[test]
fn a_tile_of_another_length_is_refused() {
    let tile = tile("tile/0/000.p/2");
    let bytes = [1; 64];
    assert_eq!(tile.decode(&bytes).unwrap().len(), 2);
    for found in [0, 32, 63, 65, 96] {
        let refused = tile.decode(&[0; 96][..found]);
        assert_eq!(refused, Err(TlogError::TileLength { tile, found, expected: 64 }));
    }
}

/// A log of `size` entries, as tiles: what anybody who can write the files can change.
struct Published {
    tiles: HashMap<Tile, Vec<u8>>,
    head: SignedCheckpoint,
    nodes: HashMap<Node, Digest>,
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

impl Published {
    fn of(size: u64) -> Self {
        let (mut nodes, mut frontier) = (HashMap::new(), Frontier::empty());
        for index in 0..size {
            let store = |node, hash| {
                nodes.insert(node, hash);
                Ok::<_, TlogError>(())
            };
            frontier.push(leaf_hash(&entry(index)), store).unwrap();
        }
        let encode = |tile: Tile| tile.encode(|node| Ok::<_, TlogError>(nodes[&node])).unwrap();
        let tiles = Tile::grown(0, size).map(|tile| (tile, encode(tile))).collect();
        let signer = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
        Self { tiles, head: signer.sign(size, frontier.root()).unwrap(), nodes }
    }

    fn reader(&self) -> TileReader<impl FnMut(Tile) -> Result<Vec<u8>, TlogError> + '_> {
        TileReader::new(self.head.size(), |tile| Ok(self.tiles[&tile].clone()))
    }

    fn proof(&self, index: u64) -> Vec<Digest> {
        let mut reader = self.reader();
        inclusion_proof(index, self.head.size(), |node| reader.node(node)).unwrap()
    }

    /// Overwrites one hash of a tile.
    fn forge(&mut self, tile: Tile, at: u64, hash: Digest) {
        let bytes = self.tiles.get_mut(&tile).unwrap();
        bytes[at as usize * 32..][..32].copy_from_slice(hash.as_bytes());
    }
}

#[test]
fn every_node_is_read_from_tiles_as_it_was_stored() {
    for size in [1, 2, 3, 255, 256, 257, 600, 66_000] {
        let log = Published::of(size);
        let mut reader = log.reader();
        for (node, hash) in &log.nodes {
            assert_eq!(reader.node::<TlogError>(*node).unwrap(), *hash, "{node:?} of {size}");
        }
        let loaded =
            Frontier::load(size, |node| log.reader().node(node)).unwrap_or_else(|e: TlogError| panic!("{e}"));
        assert_eq!(loaded.root(), log.head.root());
        for (level, index) in [(0, size), (1, size / 2), (63, 0), (64, 0), (255, 0), (0, u64::MAX)] {
            let node = Node { level, index };
            let refused = reader.node::<TlogError>(node);
            assert_eq!(refused, Err(TlogError::NoNode { node, size }));
        }
    }
}

#[test]
fn d1_a_forged_tile_is_refused() {
    for size in [1000, 70_000, 132_869, 200_000] {
        let mut log = Published::of(size);
        for index in [0, 77, 255, 256, size / 2, size - 1] {
            let tile = Tile::of(0, index / 256, size).unwrap();
            let (honest, forged) = (entry(index), b"never appended".to_vec());
            assert!(log.head.include(index, honest.clone(), &log.proof(index)).is_ok());
            log.forge(tile, index % 256, leaf_hash(&forged));
            // The reader hands out what is in the file, and nobody believes it.
            let read = log.reader().node(Node { level: 0, index });
            assert_eq!(read, Ok::<_, TlogError>(leaf_hash(&forged)), "{index} of {size}");
            let refused = log.head.include(index, forged, &log.proof(index));
            assert!(matches!(refused, Err(TlogError::NotIncluded { .. })), "{index} of {size}: {refused:?}");
            // Its sibling's proof leads over it.
            if index ^ 1 < size {
                let refused = log.head.include(index ^ 1, entry(index ^ 1), &log.proof(index ^ 1));
                assert!(matches!(refused, Err(TlogError::NotIncluded { .. })), "{} of {size}", index ^ 1);
            }
            log.forge(tile, index % 256, leaf_hash(&honest));
            assert!(log.head.include(index, honest, &log.proof(index)).is_ok());
        }
    }
}

#[test]
fn d1_a_forged_tile_of_any_level_is_refused() {
    let size = 70_000;
    let mut log = Published::of(size);
    for path in ["tile/0/000", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"] {
        let tile = tile(path);
        let right = log.tiles[&tile].clone();
        for at in [0, u64::from(tile.width()) - 1] {
            log.forge(tile, at, Digest::of(b"forged"));
            // Some entry whose proof leads over the hash: of the neighbour subtree.
            let wrong = (0..size)
                .step_by(97)
                .filter(|index| log.head.include(*index, entry(*index), &log.proof(*index)).is_err());
            assert!(wrong.count() > 0, "{path} at {at}");
            log.tiles.insert(tile, right.clone());
        }
    }
}

#[test]
fn d3_consistency_from_tiles_is_checked_too() {
    let log = Published::of(70_000);
    let mut forged = Published::of(70_000);
    forged.forge(tile("tile/0/003"), 232, Digest::of(b"forged"));
    let old = Published::of(1000).head;
    let (new, size) = (log.head.root(), log.head.size());
    let proof = |log: &Published| {
        let mut reader = log.reader();
        consistency_proof(old.size(), size, |node| reader.node::<TlogError>(node)).unwrap()
    };
    check_consistency(old.size(), old.root(), size, new, &proof(&log)).unwrap();
    let refused = check_consistency(old.size(), old.root(), size, new, &proof(&forged));
    assert!(matches!(refused, Err(TlogError::Forked { .. })), "{refused:?}");
}

proptest! {
    #[test]
    fn one_spelling_in_the_same_spelling_out(
        level in 0u8..=7, index: u64, shift in 0u32..64, size in 1..=MAX_SIZE,
        text in "tile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,3}[0-9]{3}(.p/[0-9]{1,3})?",
    ) {
        if let Some(tile) = Tile::of(level, index >> shift, size) {
            prop_assert_eq!(path(&tile.to_string()), TilePath::Hashes(tile));
        }
        if let Some(bundle) = EntryBundle::of(index >> shift, size) {
            prop_assert_eq!(path(&bundle.to_string()), TilePath::Entries(bundle));
        }
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn arbitrary_bundles_never_panic(bytes: Vec<u8>, width in 1u64..=256) {
        let bundle = EntryBundle::of(0, width).unwrap();
        if let Ok(entries) = bundle.decode(&bytes) {
            prop_assert_eq!(bundle.encode(&entries).unwrap(), bytes);
        }
    }
}
